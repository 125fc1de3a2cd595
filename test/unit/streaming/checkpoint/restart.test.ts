import { describe, expect, it } from 'vitest'
import { type CheckpointRules, everyCheckpointRule } from '../../../../src/streaming/checkpoint/rules.ts'
import { hoursOf, results, run } from './totals.ts'

describe('a job with checkpoints', () => {
  it('gives the same rows whatever crashes, on whatever shards it goes on', async () => {
    const expected = results((await run(1, { shards: 1 })).maps)
    for (const [customer, quiet] of Object.entries(expected['quiet'] ?? {})) expect(quiet).toMatchObject({ hours: hoursOf(customer) })
    expect(Object.keys(expected['quiet'] ?? {}).length).toBe(23)
    for (let seed = 2; seed < 14; seed += 1) {
      const found = await run(seed, { crashChance: 0.002, giveUpChance: 0.002 })
      expect({ seed, ...results(found.maps) }).toEqual({ seed, ...expected })
    }
  })

  it('gives the same rows when units are cut off and undone as well', async () => {
    const expected = results((await run(1, { shards: 1 })).maps)
    for (let seed = 20; seed < 26; seed += 1) {
      const found = await run(seed, { crashChance: 0.002, cutOffChance: 0.05 }, 'skip')
      expect({ seed, ...results(found.maps) }).toEqual({ seed, ...expected })
    }
  })
})

describe('a rule taken away is noticed:', () => {
  const broken: readonly (keyof CheckpointRules)[] = [
    'restorePointNeedsCommit',
    'slotsMarkedWithAttempt',
    'deadSlotsFreedFirst',
    'writeSparesNewestValid',
    'watermarksRestored',
    'writtenBeforeChange',
    'unwrittenStaysDirty',
    'timerTombstoneAtBarrier',
  ]
  it.each(broken)('%s', async name => {
    const expected = JSON.stringify(results((await run(1, { shards: 1 })).maps))
    const rules = { ...everyCheckpointRule, [name]: false }
    let noticed = false
    for (let seed = 2; seed < 60 && !noticed; seed += 1) {
      const found = run(seed, { crashChance: 0.003, crashesMax: 6, giveUpChance: 0.01, unitRowsMax: 4, rules })
      noticed = await found.then(
        ({ maps }) => JSON.stringify(results(maps)) !== expected,
        () => true,
      )
    }
    expect(noticed).toBe(true)
  })
})
