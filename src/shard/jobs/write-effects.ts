import type { Clock } from '../../base/clock.ts'
import { okAnswer } from '../answers.ts'
import type { HeldPartition } from '../held-partition.ts'
import type { Partitions } from '../partitions.ts'
import { refusalError } from '../refusals.ts'

/** All effects of `act` in one entry of the partition's log. One that throws has written nothing, or what fences: that is kept. */
export function writeEffects<T>(held: HeldPartition, partitions: Partitions, clock: Clock, act: () => T): T {
  const { replica } = held
  const nowMs = clock.nowMs()
  const admission = replica.beginWrite(nowMs)
  if (admission.kind === 'refused') throw refusalError(admission.reason)
  const before = replica.applied
  try {
    return act()
  } finally {
    if (replica.applied === before) replica.cancelWrite()
    else replica.finishWrite(nowMs, undefined, okAnswer)
    // What gathers leaves with the answer to what is under way.
    if (replica.keepsLog && !replica.gathers) partitions.touch(held)
  }
}
