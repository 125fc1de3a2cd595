import { describe, expect, it } from 'vitest'
import { type SimulationOptions, fullRun, hostileRun, variedRun } from './options.ts'
import { deafShards, slowThreads } from './profiles.ts'
import { runSimulation } from './simulation.ts'

/** Seeds that failed once, with what they showed. */
const regressions: readonly (readonly [what: string, seed: number, options: SimulationOptions])[] = [
  ['a chunk of a snapshot is sent again over a change of epoch', 44, hostileRun],
  ['a lost answer to the last chunk does not hold a learner up', 3, hostileRun],
  ['a snapshot that shows what is not committed does not count', 102, hostileRun],
  ['a leave takes away no copy that nobody replaces', 18, hostileRun],
  ['a leave with a member away takes away no copy', 39, fullRun],
  ['a learner dropped and taken in again in one epoch is not counted', 21, { ...slowThreads, settleMs: 0 }],
  ['who waits for a lost partition does not spin', 125, fullRun],
  ['a shard that hears of tables late', 166, deafShards],
  ['a leave takes no copy away while another moves between the shards of a node', 64, variedRun(64)],
  ['a primary that was replaced forgets no session of a client', 1741, variedRun(1741)],
  ['old news of a session is no proof of a death', 2334, variedRun(2334)],
]

describe('seeds that failed once', () => {
  it.each(regressions)('%s', (_, seed, options) => {
    expect(runSimulation(seed, options).violations).toEqual([])
  })
})
