/** What clients and shards of the simulation say to each other: the data service, cut down to one map. */
import type { ClusterView } from '../../../src/membership/cluster-state.ts'
import type { KeyAnswer, KeyOperation } from '../history.ts'

/** Names a write of a session; absent: the call is never tried again after it may have been received. */
export interface RequestTicket {
  readonly session: string
  /** Name of the entry that opened the session in this partition. */
  readonly ticket: string
  readonly number: number
  /** The client's lowest unanswered number on this partition. */
  readonly lowestUnanswered: number
}

/** What a write may be told besides: there is no room, nothing was done. */
export type CallAnswer = KeyAnswer | { readonly kind: 'full' }

export type ClientRequest =
  | {
      readonly kind: 'call'
      readonly id: number
      readonly partition: number
      readonly key: string
      readonly operation: KeyOperation
      readonly timeToLiveMs: number
      readonly ticket: RequestTicket | undefined
      /** A read that any replica may answer. */
      readonly isAny: boolean
    }
  | { readonly kind: 'openSession'; readonly id: number; readonly partition: number; readonly session: string }
  | { readonly kind: 'topology'; readonly id: number }

export type ClientOutcome =
  | { readonly kind: 'done'; readonly answer: CallAnswer }
  | { readonly kind: 'opened'; readonly ticket: string }
  /** Nothing was done: not the primary, no lease in time, below minInSync, lost. */
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'sessionUnknown' }
  | { readonly kind: 'outcomeUnknown' }
  | { readonly kind: 'topology'; readonly view: ClusterView | undefined }

export interface ClientAnswer {
  readonly kind: 'answer'
  readonly id: number
  readonly outcome: ClientOutcome
}
