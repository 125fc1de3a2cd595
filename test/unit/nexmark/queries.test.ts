import { testJob } from 'nearstate/testing'
import { describe, expect, test } from 'vitest'
import { eventsOf } from '../../../bench/nexmark/generator.ts'
import { queries, type QueryName } from '../../../bench/nexmark/queries/all.ts'
import { eventsStage, jobOf, linesOf, type Result, resultMap } from '../../../bench/nexmark/queries/query.ts'
import type { Event } from '../../../bench/nexmark/events.ts'
import { expectedRows } from '../../oracle/nexmark.ts'

const options = { seed: 5, rate: 1_000, count: 20_000 }
const eventAt = eventsOf(options)
const events = Array.from({ length: options.count }, (_, n) => eventAt(n))

/** No event comes after one that is five seconds younger: turned round in pieces of less than five seconds. */
const pieceEvents = 4_900
const disordered = Array.from({ length: Math.ceil(events.length / pieceEvents) }, (_, i) =>
  events.slice(i * pieceEvents, (i + 1) * pieceEvents).reverse(),
).flat()

async function run(name: QueryName, given: readonly Event[], shards: number, disorderMs: number): Promise<string> {
  const job = await testJob(jobOf(name, queries[name], { ...options, disorderMs }), { shards, seed: 3 })
  for (let from = 0; from < given.length; from += 2_000) job.source<Event>(eventsStage).push(given.slice(from, from + 2_000))
  job.end()
  return linesOf(job.map<string, Result>(resultMap).values())
}

describe('the queries of NEXMark give what the oracle finds', () => {
  for (const name of Object.keys(queries) as QueryName[]) {
    // A machine that measures something else may stop this process for a minute.
    test(`${name}, on one shard and three, in order and out of it`, async () => {
      const expected = expectedRows(name, events)
      expect(expected).not.toBe('')
      expect((await run(name, events, 1, 0)) === expected).toBe(true)
      expect((await run(name, disordered, 3, 5_000)) === expected).toBe(true)
    }, 120_000)
  }
})
