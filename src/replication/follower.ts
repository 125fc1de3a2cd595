/**
 * What a primary knows of one other replica.
 *
 *   probe --hello with an entry in my log--> log --caught up, add asked--> (in-sync: the table says so)
 *     \---hello with nothing I have---> snapshot --all chunks taken--> log
 */
import type { Replica } from '../partitioning/partition-table.ts'
import type { ImageCursor } from '../storage/image.ts'
import { type ChunkMessage, type EntryName, nothingWhole } from './messages.ts'

export type FollowerMode =
  /** Its position is not known: it is sent empty messages until it says hello. */
  | { readonly kind: 'probe' }
  | { readonly kind: 'log' }
  | {
      readonly kind: 'snapshot'
      readonly snapshot: number
      readonly start: EntryName
      /** Of the chunk to read next. */
      cursor: ImageCursor | undefined
      /** Read, and not taken yet. */
      unanswered: ChunkMessage | undefined
      nextIndex: number
      /** When the next chunk may be read (bandwidth). */
      nextAtMs: number
    }

export interface Follower {
  readonly replica: Replica
  /** What answers messages from before counts for nothing: it was another copy then, which was dropped in the same epoch. */
  sinceMs: number
  mode: FollowerMode
  isInSync: boolean
  /** The leader was asked to add it, outcome unknown: it is counted. */
  addAsked: boolean
  removeAsked: boolean
  /** Last position acknowledged in the current epoch; undefined: none. */
  acked: number | undefined
  /** Where its log surely reached, in whatever epoch of this primary. */
  reached: number
  /** Its store, as it said last. */
  applied: number
  /** The snapshot's last position, Infinity while it is under way: with less applied its store is not whole. */
  wholeAt: number
  /** Entries up to here are on their way. */
  sent: number
  /** `committed` as it was told last. */
  told: number
  lastSentAtMs: number
  /** Since when something is unanswered; undefined: nothing is. */
  waitingSinceMs: number | undefined
  lastAskedAtMs: number
  /** The leader refused to add it (its node is suspected): it is not asked again before. */
  addableAtMs: number
}

export const newFollower = (nowMs: number, replica: Replica, isInSync: boolean, from: number): Follower => ({
  replica,
  sinceMs: nowMs,
  mode: isInSync ? { kind: 'log' } : { kind: 'probe' },
  isInSync,
  addAsked: false,
  removeAsked: false,
  acked: undefined,
  reached: from,
  applied: isInSync ? from : nothingWhole,
  wholeAt: 0,
  sent: from,
  told: from,
  lastSentAtMs: Number.NEGATIVE_INFINITY,
  waitingSinceMs: undefined,
  lastAskedAtMs: Number.NEGATIVE_INFINITY,
  addableAtMs: Number.NEGATIVE_INFINITY,
})
