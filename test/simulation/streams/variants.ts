/**
 * The checkpoint protocol with one rule taken away each: rows of protocol-variants.md (Streams). A broken one shows in what the maps hold
 * in the end (I8), or in a job that can never go on (a restore point that is not there).
 */
import { everyCheckpointRule, type CheckpointRules } from '../../../src/streaming/checkpoint/rules.ts'
import { hostileStream, type StreamOptions } from './stream-simulation.ts'

export interface StreamVariant {
  readonly name: keyof CheckpointRules
  readonly rules: CheckpointRules
  /** Seeds from here on are tried until one catches it. */
  readonly fromSeed: number
  readonly options: StreamOptions
}

const variant = (name: keyof CheckpointRules, fromSeed = 1, options = hostileStream): StreamVariant => ({
  name,
  rules: { ...everyCheckpointRule, [name]: false },
  fromSeed,
  options,
})

/** Primaries that are deposed and soon primary again. */
export const fickleStream: StreamOptions = { ...hostileStream, faults: 12, backAfterMs: 25 }

export const brokenStreamVariants: readonly StreamVariant[] = [
  variant('restorePointNeedsCommit'),
  variant('casAgainstVersionRead', 10),
  variant('recordNamesMaster', 1330),
  variant('outcomeKnownBeforeNext', 10),
  variant('startInLog'),
  variant('watermarksRestored'),
  variant('splitsFromCheckpoint'),
  variant('lostFrameEndsAttempt', 10),
  variant('answerAfterCommit', 10),
  variant('writtenBeforeChange'),
  variant('slotsMarkedWithAttempt'),
  variant('writeSparesNewestValid'),
  variant('storeBoundToTerm', 30, fickleStream),
]
