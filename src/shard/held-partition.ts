/** A partition that this shard has a replica of, and who waits for its answers. */
import type { PartitionReplica } from '../replication/partition-replica.ts'
import type { Effect } from '../storage/effect.ts'
import type { ResultWriter } from '../wire/results.ts'

/** Whom an answer is for; a pipe. */
export interface Answered {
  readonly isClosed: boolean
  readonly writer: ResultWriter
  /** Sends what was written, at the latest when its slice is over. */
  touched(): void
}

/** Who waits until what was seen or written is committed. */
export type Waiter = AnswerWaiter | CommitWaiter

/** A client's answer. */
export interface AnswerWaiter {
  readonly pipe: Answered
  /** Of the operation, in the pipe. */
  readonly id: number
  readonly isWrite: boolean
  /** See answers.ts. */
  readonly answer: Uint8Array
}

/** Something of this shard's own. It is called at the end of a turn, between units of user code. */
export interface CommitWaiter {
  readonly pipe?: undefined
  /** Not called when this replica ceased to be primary: then nobody knows here. */
  readonly committed: () => void
}

export class HeldPartition {
  readonly partition: number
  readonly replica: PartitionReplica<Waiter>
  /** Through which every effect of this partition goes, outside of a write or within. */
  readonly append: (effect: Effect) => void
  /** In the list of those to be settled. */
  isTouched = false
  /** As the replica last said; exact between turns, save for promises. */
  isServing = false
  servesSinceMs = Number.NEGATIVE_INFINITY
  /** Likewise; see PartitionReplica.isFree. */
  isFree = false

  constructor(partition: number, replica: PartitionReplica<Waiter>, touch: (held: HeldPartition) => void) {
    this.partition = partition
    this.replica = replica
    this.append = effect => {
      if (this.isFree) return replica.appendFree(effect)
      replica.append(effect)
      if (!replica.gathers) touch(this)
    }
  }
}
