import { testJob } from 'nearstate/testing'
import { describe, expect, test } from 'vitest'
import type { Event } from '../../../bench/nexmark/events.ts'
import { disorderOf, eventsOf } from '../../../bench/nexmark/generator.ts'
import nexmark, { eventsStage, type Result, resultMap, sortedLines } from '../../../bench/nexmark/job.ts'
import { type QueryName, queryNames } from '../../../bench/nexmark/queries/all.ts'
import { sideKeys, sideMap } from '../../../bench/nexmark/queries/q13.ts'
import { expectedRows } from '../../oracle/nexmark.ts'

const options = { seed: 5, rate: 1_000, events: 20_000 }
const eventAt = eventsOf(options)
const events = Array.from({ length: options.events }, (_, n) => eventAt(n))
const order = disorderOf(options.seed, 5_000, events.length)
const disordered = events.map((_, i) => events[order(i)] as Event)
const side = Array.from({ length: sideKeys }, (_, key): [number, string] => [key, `v${key}`])

async function run(query: QueryName, given: readonly Event[], shards: number, disorderMs: number): Promise<string> {
  const maps = query === 'q13' ? { [sideMap]: side } : {}
  const job = await testJob(nexmark, { args: { ...options, query, disorderMs }, shards, seed: 3, maps })
  for (let from = 0; from < given.length; from += 2_000) job.source<Event>(eventsStage).push(given.slice(from, from + 2_000))
  job.end()
  return sortedLines(job.map<string, Result>(resultMap).values())
}

describe('the queries of NEXMark give what the oracle finds', () => {
  for (const query of queryNames) {
    // A machine that measures something else may stop this process for a minute.
    test(`${query}, on one shard and three, in order and out of it`, async () => {
      const expected = expectedRows(query, events)
      expect(expected).not.toBe('')
      expect((await run(query, events, 1, 0)) === expected).toBe(true)
      expect((await run(query, disordered, 3, 5_000)) === expected).toBe(true)
    }, 120_000)
  }
})
