import { expect, it } from 'vitest'
import type { Assignment } from '../../../src/streaming/assignment.ts'
import type { StageDescription } from '../../../src/streaming/graph/job-graph.ts'
import { Origins, originOf } from '../../../src/streaming/operators/origin.ts'

const source = (name: string, connector: string): StageDescription => ({
  name,
  kind: 'source',
  inputs: [],
  source: { connector, options: {} },
})

it('places are told as what their source calls them', () => {
  const splits = { lines: [[{ id: '/data/a.csv', descriptor: {} }]], numbers: [[], [{ id: '3 of 4', descriptor: { index: 2 } }]] }
  const origins = new Origins({ splits } as unknown as Assignment, [source('numbers', 'generator'), source('lines', 'files')])
  expect(origins.describe(originOf(0, 7))).toEqual({ origin: '/data/a.csv', line: 7, text: '/data/a.csv, line 7' })
  expect(origins.describe(originOf(origins.firstOf('numbers', 1), 43))?.text).toBe('generator split 3 of 4, event n = 42')
})
