/** The page of examples is complete: a section with code and its output for everything of which jobs are built. */
import { readFileSync } from 'node:fs'
import * as stream from 'nearstate/stream'
import { describe, expect, it } from 'vitest'
import { StageHandle } from '../../src/streaming/graph/stage-handle.ts'

const page = readFileSync(new URL('../../docs/guides/operators.md', import.meta.url), 'utf8')
const sections = page.split(/^##+ /m).slice(1)
const codeOf = (section: string): string => [...section.matchAll(/^```ts run\n(.*?)^```$/gms)].map(([, code = '']) => code).join('')
const examples = sections.filter(section => /^```text prints\n./m.test(section)).map(codeOf)

/** It always refuses: there are no replicated maps. */
const refused = ['broadcastJoin']
const operators = Object.getOwnPropertyNames(StageHandle.prototype).filter(name => name !== 'constructor' && !refused.includes(name))
/** What a job file calls that is no operator, but an argument of one. */
const functions = Object.keys(stream)

describe('docs/guides/operators.md', () => {
  it.for(operators)('shows what .%s() gives', operator => {
    expect(examples.filter(code => code.includes(`.${operator}(`))).not.toEqual([])
    // And a section of that name: the shared lines of the page call some of them too.
    const titles = sections.map(section => section.split('\n', 1)[0] ?? '')
    expect(titles.filter(title => title.split(/[ ,]+/).includes(operator))).not.toEqual([])
  })

  it.for(functions)('uses %s of nearstate/stream', name => {
    expect(page.replaceAll(/^import .*$/gm, '')).toMatch(new RegExp(`\\b${name}(<[^>]*>)?\\(`))
  })

  it('says of every example what it prints', () => {
    const silent = sections.filter(section => section.includes('```ts run') && !/^```text prints\n./m.test(section))
    // The lines that the joins share.
    expect(silent.map(section => section.split('\n', 1)[0])).toEqual(['Joins'])
  })
})
