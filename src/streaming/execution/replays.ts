/**
 * Dead letters that go again into the stages that refused them, on the shard that has the row's partition.
 *
 *   take -> waiting -> (a unit of its own) -> done -> recorded in barrier n -> n is committed: replayed
 *                                          -> failedAgain
 *
 * Owns: what has become of each letter, and the records of it. Does not: read or delete letters (the client does, when it is told).
 *
 * 1. Nothing is replayed while a barrier is on its way through this shard, so a unit's rows and its record are of one checkpoint.
 * 2. A letter is its key and version. Its record, in the row's partition, is there exactly when the checkpoint has its row: who asks
 *    again, in a later attempt too, is told `replayed`, and nothing is done.
 * 3. A letter that fails again has done nothing: there is no record of it, and the stage has written it anew.
 * 4. When the input has ended nothing new is replayed: the last checkpoint may have begun.
 * 5. At most `lettersMax` are known at once; what is beyond it stays `pending`, and is asked for again.
 */
import { messageOf } from '../../base/errors.ts'
import { encodeKey } from '../../keys/encode-key.ts'
import { partitionOfKey } from '../../keys/partition-of.ts'
import type { HomeRecord } from '../checkpoint/home.ts'
import type { RowCodec } from '../exchange/frame.ts'
import type { StageNode } from '../graph/stage-spec.ts'
import { Batch } from '../operators/batch.ts'
import type { Operator } from '../operators/operator.ts'
import { SourceOperator } from '../operators/source.ts'
import type { StateStore } from '../ports.ts'
import type { Plan } from './plan.ts'

/** An entry of the map of dead letters. */
export interface LetterEntry {
  readonly key: string
  readonly version: number
  readonly value: Uint8Array
}

export type LetterId = Pick<LetterEntry, 'key' | 'version'>

export type ReplayOutcome =
  | { readonly kind: 'pending' }
  | { readonly kind: 'replayed' }
  | { readonly kind: 'failedAgain' }
  /** It is not for this stage, or says too little. */
  | { readonly kind: 'refused'; readonly reason: string }

type ReplayState =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'done' }
  | { readonly kind: 'recorded'; readonly n: number }
  | { readonly kind: 'replayed' }
  | { readonly kind: 'failedAgain' }

/** One that can be run. */
export interface ReplayedLetter {
  readonly id: string
  readonly key: string
  readonly operator: Operator
  readonly row: unknown
  readonly time: number
  readonly rowKey: unknown
  readonly partition: number
  readonly origin: string
  readonly line: number
  state: ReplayState
  /** Rows that the stage had refused before it ran. */
  refusedBefore: number
}

/** What operators/dead-letters.ts has written; from a client, so nothing is sure. */
interface Stored {
  readonly stage?: unknown
  readonly origin?: unknown
  readonly line?: unknown
  readonly row?: unknown
  readonly replay?: { readonly time?: unknown; readonly key?: unknown; readonly partition?: unknown; readonly packed?: unknown }
}

const lettersMax = 1024
const text = new TextEncoder()
const isThere = Uint8Array.of(1)

export class Replays {
  readonly #nodes: readonly StageNode[]
  readonly #plan: Plan
  readonly #store: StateStore | undefined
  readonly #codec: RowCodec
  readonly #partitions: number
  /** Where records are kept: the stage of the dead letters. */
  readonly #stage: string
  readonly #letters = new Map<string, ReplayedLetter>()
  readonly #waiting = new Set<ReplayedLetter>()
  #tombstones: HomeRecord[] = []

  constructor(nodes: readonly StageNode[], plan: Plan, store: StateStore | undefined, codec: RowCodec, partitions: number) {
    this.#nodes = nodes
    this.#plan = plan
    this.#store = store
    this.#codec = codec
    this.#partitions = partitions
    this.#stage = nodes.find(({ spec }) => spec.kind === 'deadLetters')?.name ?? ''
  }

  /** How far each is; those that are new are taken. `forgets`: letters that are deleted, and asked for no more. */
  take(partition: number, entries: readonly LetterEntry[], forgets: readonly LetterId[], hasInputEnded: boolean): readonly ReplayOutcome[] {
    for (const letter of forgets) this.#forget(partition, idOf(letter))
    return entries.map(entry => this.#outcomeOf(partition, entry, hasInputEnded))
  }

  #outcomeOf(partition: number, entry: LetterEntry, hasInputEnded: boolean): ReplayOutcome {
    const id = idOf(entry)
    const known = this.#letters.get(id)
    if (known !== undefined && !(hasInputEnded && known.state.kind === 'waiting')) {
      const { kind } = known.state
      // Told once: it may be asked for again later, when what it failed for is mended.
      if (kind === 'failedAgain') this.#letters.delete(id)
      return kind === 'failedAgain' || kind === 'replayed' ? { kind } : { kind: 'pending' }
    }
    if (this.#store?.read(partition, this.#stage, text.encode(id)) !== undefined) return { kind: 'replayed' }
    if (hasInputEnded) return { kind: 'refused', reason: "the job's input has ended" }
    if (!this.#hasRoom()) return { kind: 'pending' }
    const letter = this.#tryRead(id, partition, entry)
    if (typeof letter === 'string') return { kind: 'refused', reason: letter }
    this.#letters.set(id, letter)
    this.#waiting.add(letter)
    return { kind: 'pending' }
  }

  /** Those that are settled make room: of what was replayed there are records. */
  #hasRoom(): boolean {
    if (this.#letters.size < lettersMax) return true
    for (const [id, { state }] of this.#letters) if (state.kind === 'replayed' || state.kind === 'failedAgain') this.#letters.delete(id)
    return this.#letters.size < lettersMax
  }

  /** The letter, or why it cannot be replayed. */
  #tryRead(id: string, partition: number, entry: LetterEntry): ReplayedLetter | string {
    try {
      return this.#read(id, partition, entry)
    } catch (thrown) {
      return `its entry is no letter: ${messageOf(thrown)}`
    }
  }

  #read(id: string, partition: number, { key, value }: LetterEntry): ReplayedLetter | string {
    const { stage, origin, line, row, replay } = this.#codec.decode(value) as Stored
    const node = this.#nodes.find(({ name }) => name === stage)
    if (node === undefined) return 'the job has no such stage now'
    if (typeof replay?.time !== 'number') return 'it was no row in front of its stage, or is too large to be kept whole'
    const { kind } = node.spec
    if (kind === 'joinWindow' || kind === 'joinInterval') return 'it does not say which input of the join it came from'
    const problem = this.#keyProblem(node, replay.key, partition)
    if (problem !== undefined) return problem
    return {
      id,
      key,
      operator: this.#plan.operators[node.index] as Operator,
      row: replay.packed instanceof Uint8Array ? this.#codec.decode(replay.packed) : row,
      time: replay.time,
      rowKey: replay.key,
      partition,
      origin: typeof origin === 'string' ? origin : '',
      line: typeof line === 'number' ? line : 0,
      state: { kind: 'waiting' },
      refusedBefore: 0,
    }
  }

  #keyProblem({ inputs }: StageNode, key: unknown, partition: number): string | undefined {
    const codec = this.#nodes[inputs[0] ?? -1]?.key?.codec
    if (codec === undefined) return key === undefined ? undefined : 'its stage takes rows without a key now'
    try {
      const bytes = encodeKey(codec, key)
      if (partitionOfKey(codec, bytes, 0, bytes.length, this.#partitions) === partition) return undefined
    } catch (thrown) {
      return `its stage has other keys now: ${messageOf(thrown)}`
    }
    return 'its stage has other keys now'
  }

  #forget(partition: number, id: string): void {
    const known = this.#letters.get(id)
    if (known !== undefined && known.state.kind !== 'replayed') return
    this.#letters.delete(id)
    const key = text.encode(id)
    if (this.#store?.read(partition, this.#stage, key) === undefined) return
    this.#tombstones.push({ partition, stage: this.#stage, key, value: undefined })
  }

  // ---- units

  get areWaiting(): boolean {
    return this.#waiting.size > 0
  }

  /** The next one that can run: `isBlocked` by the stage where it goes in. */
  next(isBlocked: (stage: number) => boolean): ReplayedLetter | undefined {
    for (const letter of this.#waiting) if (!isBlocked(letter.operator.stage)) return letter
    return undefined
  }

  /** In a unit: user code. */
  run(letter: ReplayedLetter): void {
    const { unit, origins } = this.#plan
    const { operator, key, row, time, rowKey, partition } = letter
    letter.refusedBefore = unit.counters.deadLetters[operator.stage] as number
    // Refused again it is the same letter.
    unit.replaying = { stage: operator.stage, key }
    const { split, line } = origins.placeOf(letter.origin, letter.line)
    if (operator instanceof SourceOperator) {
      operator.read({ origin: letter.origin, records: [row], lines: [line], rejected: [] }, split, 0, 1)
      return
    }
    const batch = new Batch(1)
    batch.push(row, time, origins.originOf(split, line), rowKey, rowKey === undefined ? -1 : partition)
    operator.accept(batch)
  }

  /** The unit has returned. */
  finish(letter: ReplayedLetter): void {
    const { operator, refusedBefore } = letter
    this.#waiting.delete(letter)
    const hasFailed = (this.#plan.unit.counters.deadLetters[operator.stage] as number) > refusedBefore
    letter.state = hasFailed ? { kind: 'failedAgain' } : this.#store === undefined ? { kind: 'replayed' } : { kind: 'done' }
  }

  /** It was cut off, and has done nothing. */
  giveUp(letter: ReplayedLetter): void {
    this.#waiting.delete(letter)
    letter.state = { kind: 'failedAgain' }
  }

  // ---- checkpoints

  /** Barrier n begins: records of what has run since the last one, for their homes. */
  takeRecords(n: number): readonly HomeRecord[] {
    const records = this.#tombstones
    this.#tombstones = []
    for (const letter of this.#letters.values()) {
      if (letter.state.kind !== 'done') continue
      letter.state = { kind: 'recorded', n }
      records.push({ partition: letter.partition, stage: this.#stage, key: text.encode(letter.id), value: isThere })
    }
    return records
  }

  committed(n: number): void {
    for (const letter of this.#letters.values()) {
      const { state } = letter
      if (state.kind === 'recorded' && state.n <= n) letter.state = { kind: 'replayed' }
    }
  }
}

const idOf = ({ key, version }: LetterId): string => `${version}:${key}`
