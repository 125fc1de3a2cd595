import { expect, it } from 'vitest'
import { StageTimes } from '../../../src/streaming/execution/stage-times.ts'

it('counts work and batches at the stage where they began', () => {
  const times = new StageTimes(2)
  for (const elapsedMs of [0.1, 0.25, 0.3, 7, 500]) times.worked(1, elapsedMs)
  expect(times.of(0, 0)).toEqual({ busyMs: 0, blockedMs: 0, batches: [0, 0, 0, 0, 0, 0, 0, 0, 0] })
  expect(times.of(1, 0)).toEqual({ busyMs: 508, blockedMs: 0, batches: [2, 1, 0, 0, 0, 1, 0, 0, 1] })
})

it('counts the time between the first look that finds it full and the first that does not, and what is not over yet', () => {
  const times = new StageTimes(1)
  expect([times.looked(0, false, 5), times.looked(0, true, 10), times.looked(0, true, 20), times.looked(0, false, 50)]).toEqual([
    false,
    true,
    true,
    false,
  ])
  expect(times.of(0, 100).blockedMs).toBe(40)
  times.looked(0, true, 100)
  expect(times.of(0, 130).blockedMs).toBe(70)
})
