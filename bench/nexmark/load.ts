/** What one round of the benchmark is asked, on either side, and what it answers. */
import type { QueryName } from './queries/all.ts'

export interface Load {
  readonly query: QueryName
  readonly light: boolean
  /** exactly-once: with a checkpoint every second. */
  readonly guarantee: 'none' | 'exactly-once'
  readonly warmup: number
  readonly events: number
}

export interface RoundResult {
  readonly perSecond: number
  /** Result rows, and how many of them have an odd sum. */
  readonly rows: number
  readonly checksum: number
}

/** Hazelcast Jet's defaults: events per second of event time, and keys. */
export const eventRate = 1e6
export const keys = 10_000
/** Events behind those that are timed, as a share of them. */
const tailShare = 0.05
export const seed = 1

export const totalOf = ({ warmup, events }: Load): number => warmup + events + Math.ceil(events * tailShare)
