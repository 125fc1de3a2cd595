/** One barrier as the master sees it: who has answered, until when it may take, what it cost. */
import type { StageCounts } from '../assignment.ts'
import { mergeCounts } from '../execution/progress.ts'
import type { BarrierAnswer } from '../checkpoint/task-checkpoint.ts'

export class Barrier {
  readonly n: number
  readonly startedMs: number
  readonly deadlineMs: number
  readonly #shards: number
  readonly #answers = new Map<number, BarrierAnswer>()

  constructor(n: number, shards: number, startedMs: number, timeoutMs: number) {
    this.n = n
    this.#shards = shards
    this.startedMs = startedMs
    this.deadlineMs = startedMs + timeoutMs
  }

  answer(shard: number, answer: BarrierAnswer): void {
    if (shard >= 0 && shard < this.#shards) this.#answers.set(shard, answer)
  }

  get isAnswered(): boolean {
    return this.#answers.size === this.#shards
  }

  /** Shards that have not answered. */
  get missing(): readonly number[] {
    return Array.from({ length: this.#shards }, (_, shard) => shard).filter(shard => !this.#answers.has(shard))
  }

  /** Every shard had ended before it: it is the job's last. */
  get isLast(): boolean {
    return this.isAnswered && [...this.#answers.values()].every(({ ended }) => ended)
  }

  get counts(): readonly StageCounts[] {
    return mergeCounts([...this.#answers.values()].map(({ stages }) => stages))
  }

  get bytes(): number {
    let bytes = 0
    for (const answer of this.#answers.values()) bytes += answer.bytes
    return bytes
  }
}
