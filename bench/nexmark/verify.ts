/**
 * Whether queries give the same rows, byte for byte, whatever the cluster and what happens to it: each runs on one node in order and
 * without a kill, and then as asked, on clusters of their own. Goes on after a difference, so that one run tells of all of them.
 */
import type { QueryName } from './queries/all.ts'
import { type RunOptions, runQuery } from './run.ts'

export interface Verdict {
  readonly query: QueryName
  readonly rows: number
  readonly restarts: number
  readonly seconds: number
  /** Undefined: the same rows. */
  readonly wrong: string | undefined
}

export async function* verify(queries: readonly QueryName[], optionsOf: (query: QueryName) => RunOptions): AsyncGenerator<Verdict> {
  for (const query of queries) {
    const options = optionsOf(query)
    const expected = (await runQuery({ args: { ...options.args, disorderMs: 0 }, nodes: 1, shards: 1 })).csv
    const rows = linesOf(expected).length
    const startedMs = performance.now()
    const secondsSince = (): number => (performance.now() - startedMs) / 1000
    try {
      const { csv, restarts } = await runQuery(options)
      yield { query, rows, restarts, seconds: secondsSince(), wrong: csv === expected ? undefined : differenceOf(csv, expected) }
    } catch (error) {
      const wrong = error instanceof Error ? error.message : String(error)
      yield { query, rows, restarts: Number.NaN, seconds: secondsSince(), wrong }
    }
  }
}

function differenceOf(csv: string, expected: string): string {
  const lines = linesOf(csv)
  const wanted = new Set(linesOf(expected))
  const got = new Set(lines)
  const missing = [...wanted].filter(line => !got.has(line))
  const more = lines.filter(line => !wanted.has(line))
  const shown = [...missing.slice(0, 3).map(line => `- ${line}`), ...more.slice(0, 3).map(line => `+ ${line}`)]
  return `${lines.length} rows, ${missing.length} lines missing, ${more.length} too many: ${shown.join('  ')}`
}

const linesOf = (csv: string): string[] => csv.split('\n').slice(0, -1)
