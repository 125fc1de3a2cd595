import { describe, expect, test } from 'vitest'
import type { JobGraph, StageDescription } from '../../../../src/streaming/graph/job-graph.ts'
import { newSources, stateDifferences, stateShapes } from '../../../../src/streaming/graph/state-shapes.ts'

const user = { space: 'user', codec: 'string' } as const
const source = { name: 'events', kind: 'source', inputs: [], source: { connector: 'generator', options: {} } } as const
const process: StageDescription = { name: 'counts', kind: 'process', inputs: ['by user'], key: user }
const aggregate: StageDescription = { name: 'sums', kind: 'aggregate', inputs: ['by user'], key: user, aggregates: { s: 'sum' } }
const graphOf = (...stages: StageDescription[]): JobGraph => ({ name: 'job', onError: 'fail', onBrokenRow: 'fail', stages })
const saved = stateShapes(graphOf(source, { name: 'twice', kind: 'map', inputs: ['events'] }, process, aggregate))

describe('the state of a savepoint and another graph', () => {
  test('fit when all stages with state are there as they were; stages without state and new ones are free', () => {
    expect(saved.map(({ name }) => name)).toEqual(['events', 'counts', 'sums'])
    const graph = graphOf(source, { ...aggregate, inputs: ['other'] }, process, { ...process, name: 'new' })
    expect(stateDifferences(saved, graph)).toEqual([])
  })

  test('are compared stage by stage', () => {
    const differences = (...stages: StageDescription[]): readonly string[] =>
      stateDifferences(saved, graphOf(...stages)).map(({ stage, message }) => `${stage} ${message}`)
    expect(differences(source, aggregate)).toEqual(['counts is missing (it was process)'])
    expect(differences(source, { ...process, kind: 'reduce' }, aggregate)).toEqual(['counts is reduce and was process'])
    const moved = { ...process, key: { space: 'order', codec: 'string' } } as const
    expect(differences(source, moved, aggregate)).toEqual(['counts has keys of "order" and had those of "user"'])
    expect(differences(source, process, { ...aggregate, aggregates: { s: 'avg' } })).toEqual([
      'sums keeps {"aggregates":{"s":"avg"}} and kept {"aggregates":{"s":"sum"}}',
    ])
    const files = { ...source, source: { connector: 'files', options: {} } } as const
    expect(differences(files, process, aggregate)).toEqual(['events keeps {"connector":"files"} and kept {"connector":"generator"}'])
  })

  test('tell which sources have no positions', () => {
    const graph = graphOf(source, { ...source, name: 'more' }, process, aggregate)
    expect(newSources(graph, saved, [])).toEqual(['more'])
    expect(newSources(graph, saved, ['events'])).toEqual(['events', 'more'])
  })
})
