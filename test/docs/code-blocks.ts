/**
 * The TypeScript of a Markdown page, as modules.
 *
 *   ```ts               a part of the page's own module, `page.ts`: blocks of one page follow each other
 *   ```ts run           the same, and a part of the page's program, which is run
 *   ```ts file=NAME     a part of another file beside it, which the page's module may import or deploy
 *   ```text prints      what the page's program prints there: all such blocks of a page are its whole output
 *
 * Lines keep their numbers (other lines become empty), so that a complaint about a module names the line of the page.
 */

export interface PageCode {
  /** File name -> text, `page.ts` among them if the page has TypeScript of its own. */
  readonly files: ReadonlyMap<string, string>
  /** The blocks marked `run`, as one module; undefined: none is. */
  readonly program: string | undefined
  /** What the program prints; undefined: the page does not say. */
  readonly prints: string | undefined
}

export function codeOfPage(markdown: string): PageCode {
  const lines = markdown.split('\n')
  const parts = new Map<string, Map<number, string>>()
  const put = (file: string, at: number, line: string): void => {
    const part = parts.get(file) ?? new Map<number, string>()
    parts.set(file, part.set(at, line))
  }
  let block: readonly string[] | undefined
  let isOther = false
  lines.forEach((line, at) => {
    const fence = /^```(.*)$/.exec(line)
    if (fence === null) {
      for (const file of block ?? []) put(file, at, line)
      return
    }
    if (block !== undefined || isOther) {
      block = undefined
      isOther = false
      return
    }
    block = filesOf((fence[1] ?? '').trim(), at)
    isOther = block === undefined
  })
  if (block !== undefined || isOther) throw new Error('the last code block is not closed')
  const text = (file: string): string => {
    const part = parts.get(file)
    return lines.map((_, at) => part?.get(at) ?? '').join('\n')
  }
  const files = new Map([...parts.keys()].filter(file => file !== programFile).map(file => [file, text(file)]))
  const printed = [...markdown.matchAll(/^```text prints\n(.*?)^```$/gms)].map(([, block = '']) => block)
  return {
    files,
    program: parts.has(programFile) ? text(programFile) : undefined,
    prints: printed.length === 0 ? undefined : printed.join(''),
  }
}

const programFile = '(program)'

/** Undefined: not TypeScript. */
function filesOf(info: string, at: number): readonly string[] | undefined {
  const [language, ...words] = info.split(/\s+/)
  if (language !== 'ts') return undefined
  if (words.length === 0) return ['page.ts']
  if (words.length === 1 && words[0] === 'run') return ['page.ts', programFile]
  const file = /^file=([\w-]+\.ts)$/.exec(words.join(' '))?.[1]
  if (file === undefined || file === 'page.ts') throw new Error(`line ${at + 1}: \`\`\`${info}: ts, ts run or ts file=NAME.ts is wanted`)
  return [file]
}
