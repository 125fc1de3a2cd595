/** The state of a job that has ended goes, in slices, from every partition that this shard serves. */
import type { Clock } from '../../base/clock.ts'
import { NearstateError } from '../../base/errors.ts'
import { dropJobState } from '../../grid/job-state.ts'
import type { HeldPartition } from '../held-partition.ts'
import type { Partitions } from '../partitions.ts'
import { writeEffects } from './write-effects.ts'

export interface DropOptions {
  readonly job: string
  /** A newer one has its state for itself. */
  readonly attempt: number
  /** Stages whose records stay: rows that were collected. */
  readonly keep: readonly string[]
  readonly partitions: Partitions
  readonly clock: Clock
  readonly later: (callback: () => void) => void
}

const sliceRecords = 512

/** Answers the partitions of which nothing is left. What is not dropped, since its partition moves meanwhile, goes when a job of that name runs again. */
export async function dropState({ job, attempt, keep, partitions, clock, later }: DropOptions): Promise<readonly number[]> {
  const dropped: number[] = []
  const slice = ({ replica: { store }, append }: HeldPartition): boolean => dropJobState(store, job, attempt, sliceRecords, append, keep)
  for (const held of partitions.serving) {
    for (let state: 'more' | 'done' | 'failed' = 'more'; state === 'more'; ) {
      await new Promise<void>(resolve => later(resolve))
      state = held.isServing ? attempted(() => writeEffects(held, partitions, clock, () => slice(held))) : 'failed'
      if (state === 'done') dropped.push(held.partition)
    }
  }
  return dropped
}

function attempted(drop: () => boolean): 'more' | 'done' | 'failed' {
  try {
    return drop() ? 'done' : 'more'
  } catch (thrown) {
    if (thrown instanceof NearstateError) return 'failed'
    throw thrown
  }
}
