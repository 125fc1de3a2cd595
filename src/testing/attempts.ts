/**
 * The attempts of a job one after the other, with their checkpoints: what the job master does in a cluster, on the spot. State is kept
 * by the rules of the replicated store (streaming/state/memory-state.ts), in memory.
 *
 *   start -> barrier 1 (sources begin when it is committed) -> running -> barrier n: all shards answer -> commit -> ... -> completed
 *   crash -> start of the next attempt, from the last checkpoint that was committed
 *
 * Owns: attempt, restore point, the barrier under way. Does not: choose when there is one.
 *
 * 1. A commit is a step of its own: a crash may come between the last answer and it.
 */
import type { RestorePoint } from '../streaming/master/record.ts'
import { NearstateError } from '../base/errors.ts'
import { type Random, randomInteger } from '../base/random.ts'
import type { Split } from '../streaming/assignment.ts'
import type { BarrierAnswer } from '../streaming/checkpoint/task-checkpoint.ts'
import { restoredSplits } from '../streaming/checkpoint/restored-splits.ts'
import type { TaskCheckpoints } from '../streaming/execution/shard-task.ts'
import type { MemoryState } from '../streaming/state/memory-state.ts'
import type { StateStore } from '../streaming/ports.ts'
import { collectedRows } from '../streaming/operators/collect.ts'
import { decodeValue, encodeValue } from '../wire/value-codec.ts'
import type { SimulatedShards } from './simulated-shards.ts'

export type TestGuarantee = 'exactly-once' | 'at-least-once' | 'none'

export interface AttemptsOptions {
  readonly guarantee: TestGuarantee
  readonly state: MemoryState
  /** What `state` holds already: a savepoint's checkpoint. */
  readonly restorePoint: RestorePoint
  readonly sourceStages: readonly string[]
  readonly random: Random | undefined
  /** Builds the shards of an attempt; `splits` are those of the checkpoint, undefined in a fresh start. */
  readonly build: (start: AttemptStart) => SimulatedShards
}

export interface AttemptStart {
  readonly attempt: number
  readonly shards: number
  readonly restorePoint: RestorePoint
  readonly splits: Readonly<Record<string, readonly Split[]>> | undefined
  /** By shard. */
  readonly checkpoints: ((self: number) => TaskCheckpoints) | undefined
}

interface Barrier {
  readonly n: number
  readonly answers: Map<number, BarrierAnswer>
}

const codec = { encode: encodeValue, decode: decodeValue }

export class Attempts {
  readonly #options: AttemptsOptions
  #attempt: number
  #restorePoint: RestorePoint
  #shards: SimulatedShards
  #shardCount: number
  #barrier: Barrier | undefined
  #n = 0
  #committed = 0
  /** The one before which all shards had ended is committed. */
  #isLast = false
  #lastAnswers: readonly BarrierAnswer[] = []
  /** What the store has still to say. */
  #later: (() => void)[] = []

  constructor(options: AttemptsOptions, shards: number) {
    this.#options = options
    this.#attempt = options.restorePoint.attempt
    this.#restorePoint = options.restorePoint
    this.#shardCount = shards
    this.#shards = this.#start()
  }

  get shards(): SimulatedShards {
    return this.#shards
  }

  get attempt(): number {
    return this.#attempt
  }

  /** The last checkpoint committed in this attempt; 0: none yet. */
  get committed(): number {
    return this.#committed
  }

  get isUnderWay(): boolean {
    return this.#barrier !== undefined
  }

  /** What the shards said of the last checkpoint that was committed. */
  get lastAnswers(): readonly BarrierAnswer[] {
    return this.#lastAnswers
  }

  /** The rows that a collecting stage has in committed checkpoints. */
  collectedBy(stage: string): readonly unknown[] {
    const { state } = this.#options
    const all = Array.from({ length: state.partitionCount }, (_, partition) => partition)
    return all.flatMap(partition => [...state.valid(partition, stage)].flatMap(record => collectedRows(record, codec)))
  }

  /** For people: what the barrier under way waits for. */
  get waitsFor(): string {
    return this.#shards.tasks
      .flatMap(({ barrierWaitsFor: waits }, shard) => (waits === undefined ? [] : [`shard ${shard}: ${waits.what} "${waits.stage}"`]))
      .join(', ')
  }

  /** One unit, one frame, one word of the store, or a commit; false: there is nothing to do. */
  step(): boolean {
    const { random } = this.#options
    const isOwn = random !== undefined && randomInteger(random, 4) === 0
    return (isOwn && this.#own()) || this.#shards.step() || this.#own()
  }

  /** Begins a checkpoint if none is under way and the shards run. */
  begin(): void {
    if (this.#barrier !== undefined || this.#options.guarantee === 'none' || !this.#shards.areReady) return
    this.#n += 1
    this.#barrier = { n: this.#n, answers: new Map() }
    for (const task of this.#shards.tasks) task.barrier(this.#n, this.#committed)
  }

  /** The checkpoint under way is given up; what it wrote counts with the next one. */
  giveUp(): void {
    this.#barrier = undefined
  }

  /** Everything in memory is lost, and the next attempt begins. */
  restart(shards = this.#shardCount): { readonly restorePoint: RestorePoint } {
    this.#shards.close()
    if (this.#options.guarantee === 'none') {
      throw new NearstateError('UNAVAILABLE', 'The job has crashed; with guarantee "none" it does not go on')
    }
    if (this.#committed > 0) this.#restorePoint = { attempt: this.#attempt, n: this.#committed }
    this.#shardCount = shards
    this.#shards = this.#start()
    return { restorePoint: this.#restorePoint }
  }

  #start(): SimulatedShards {
    const { guarantee, state, sourceStages, build } = this.#options
    const restorePoint = this.#restorePoint
    this.#attempt += 1
    const attempt = this.#attempt
    this.#barrier = undefined
    this.#n = 0
    this.#committed = 0
    this.#isLast = false
    this.#later = []
    const common = { attempt, shards: this.#shardCount, restorePoint }
    if (guarantee === 'none') return build({ ...common, splits: undefined, checkpoints: undefined })
    for (let partition = 0; partition < state.partitionCount; partition += 1) state.begin(partition, attempt, restorePoint)
    const open = (): StateStore => state.store(attempt, restorePoint, say => this.#later.push(say))
    const all = Array.from({ length: state.partitionCount }, (_, partition) => partition)
    const splits = restorePoint.attempt === 0 ? undefined : restoredSplits(open(), all, sourceStages, codec)
    const shards = build({
      ...common,
      splits,
      checkpoints: self => ({ guarantee, store: open(), answer: answer => this.#answered(attempt, self, answer) }),
    })
    this.#shards = shards
    // A fresh job reads nothing before its start positions are in a checkpoint.
    if (splits === undefined) this.begin()
    return shards
  }

  #answered(attempt: number, shard: number, answer: BarrierAnswer): void {
    if (attempt === this.#attempt && answer.n === this.#barrier?.n) this.#barrier.answers.set(shard, answer)
  }

  #own(): boolean {
    const say = this.#later.shift()
    if (say !== undefined) {
      say()
      return true
    }
    const barrier = this.#barrier
    if (barrier !== undefined && barrier.answers.size === this.#shards.tasks.length) {
      this.#barrier = undefined
      this.#committed = barrier.n
      this.#lastAnswers = [...barrier.answers.values()]
      this.#isLast = this.#lastAnswers.every(({ ended }) => ended)
      for (const task of this.#shards.tasks) task.committed(barrier.n, this.#isLast)
      return true
    }
    // The last checkpoint comes when all work is done.
    const { tasks, haveCompleted } = this.#shards
    if (barrier !== undefined || this.#options.guarantee === 'none' || haveCompleted || !tasks.every(task => task.hasEnded)) return false
    if (this.#isLast) return false
    this.begin()
    return true
  }
}
