/**
 * A barrier on one shard, from the master's word to the answer.
 *
 *   request(n) -> sources are noted, the barrier goes through the stages (barrier-flow.ts)
 *              -> all stages passed, their state written, sinks prepared
 *              -> what lives in partitions of other shards is sent to them, and theirs has come from all
 *              -> a barrier record in each own partition -> all committed -> answer
 *
 * Owns: the order of these, and the records without a key (offsets of splits, handles of sinks) until they are at home.
 *
 * 1. One barrier at a time. The next one is asked for only when the last is committed or given up, and takes its place at once, wherever
 *    that is; what of it was not written or sent by then counts with the next.
 * 2. Every shard sends every other one a last frame of state for each barrier, be it empty; a barrier record is written when all of
 *    them have come. Frames of a barrier that has not begun here wait: one barrier's worth of each shard.
 * 3. What comes for a barrier that was given up is written with its own number, and counts with the next one.
 */
import { NearstateError } from '../../base/errors.ts'
import type { StageCounts } from '../assignment.ts'
import { defaultExchangeLimits } from '../exchange/edge.ts'
import type { Frame, FrameWriter, RowCodec } from '../exchange/frame.ts'
import type { StateChange, StateStore } from '../ports.ts'
import type { StageMark } from '../state/stage-state.ts'
import { encodeMarks } from './barrier-record.ts'
import type { BarrierFlow } from './barrier-flow.ts'
import type { HomeRecord } from './home.ts'
import type { CheckpointRules } from './rules.ts'

export interface BarrierAnswer {
  readonly n: number
  /** The shard had nothing left to do when the barrier began: the checkpoint of which all say so is the last one. */
  readonly ended: boolean
  readonly bytes: number
  readonly records: number
  /** How long it took here, and where the time went. */
  readonly alignMs: number
  readonly writeMs: number
  readonly commitMs: number
  /** Of each stage, when the barrier passed it. */
  readonly stages: readonly StageCounts[]
}

export interface TaskCheckpointOptions {
  readonly store: StateStore
  readonly codec: RowCodec
  readonly rules: CheckpointRules
  readonly flow: BarrierFlow
  readonly self: number
  /** Index of the shard that owns each partition. */
  readonly owners: readonly number[]
  readonly shards: number
  readonly writer: FrameWriter
  readonly send: (to: number, bytes: Uint8Array) => void
  /** Notes how far sources are; the records go to their homes. */
  readonly snapshotSources: (n: number) => readonly HomeRecord[]
  /** State and sinks have nothing left to write or prepare: undefined; else the stage that has. */
  readonly stageAtWork: () => number | undefined
  /** Handles of sinks that came with this barrier, and tombstones of those that were committed. */
  readonly sinkRecords: () => readonly HomeRecord[]
  readonly written: () => { readonly bytes: number; readonly records: number }
  readonly counts: () => readonly StageCounts[]
  readonly answer: (answer: BarrierAnswer) => void
  readonly fail: (error: NearstateError) => void
}

type Phase = 'none' | 'passing' | 'writing' | 'gathering' | 'committing' | 'answered'

// A frame of state ends with the record that passes the target; links take no message much longer than frameMaxBytes.
const frameRecordsMax = 512
const frameTargetBytes = 256 * 1024
const { frameMaxBytes } = defaultExchangeLimits
const recordMaxBytes = frameMaxBytes - frameTargetBytes

export class TaskCheckpoint {
  readonly #options: TaskCheckpointOptions
  readonly #partitions: readonly number[]
  #requested = 0
  #phase: Phase = 'none'
  /** What the barrier record is to say of each stage with state; asked when it is written. */
  #marks = new Map<string, (partition: number) => StageMark>()
  /** Records for their homes, by home and key; not sent yet. */
  #home = new Map<string, HomeRecord>()
  #homeBytes = 0
  #homeRecords = 0
  /** By shard: the sequence of the next frame to it. */
  readonly #sequences = new Map<number, number>()
  /** Frames of other shards that wait for their barrier to begin here. */
  #early: { readonly n: number; readonly records: readonly HomeRecord[] }[] = []
  /** By shard: sequence of its next frame, and the last barrier of which it has sent all. */
  readonly #nextSequence: number[]
  readonly #complete: number[]
  #uncommitted = 0
  #ended = false
  #startedMs = 0
  #passedMs = 0
  #writtenMs = 0
  #nowMs = 0

  constructor(options: TaskCheckpointOptions) {
    this.#options = options
    const { owners, self, shards } = options
    this.#partitions = owners.flatMap((owner, partition) => (owner === self ? [partition] : []))
    this.#nextSequence = Array.from({ length: shards }, () => 0)
    this.#complete = Array.from({ length: shards }, () => 0)
  }

  /** The barrier that is under way here, or the last one. */
  get n(): number {
    return this.#options.flow.n
  }

  /** What a barrier that takes long waits for. */
  get waitsFor(): { readonly stage: number | undefined; readonly what: Phase } | undefined {
    const { flow, stageAtWork } = this.#options
    if (this.#phase === 'none' || this.#phase === 'answered') return undefined
    return { stage: this.#phase === 'passing' ? flow.waitsAt : this.#phase === 'writing' ? stageAtWork() : undefined, what: this.#phase }
  }

  /** The master's barrier n. */
  request(n: number): void {
    this.#requested = Math.max(this.#requested, n)
  }

  /** Between units, before the next one is chosen: a barrier asked for begins. `ended`: the task has nothing left to do. */
  begin(nowMs: number, ended: boolean): void {
    const { flow, snapshotSources } = this.#options
    this.#nowMs = nowMs
    if (this.#requested <= flow.n) return
    const n = this.#requested
    flow.begin(n)
    this.#phase = 'passing'
    this.#ended = ended
    this.#startedMs = nowMs
    this.#marks = new Map()
    for (const record of snapshotSources(n)) this.#keep(record)
    this.#writeEarly()
  }

  /** It has passed a stage with state. */
  passed(stage: string, mark: (partition: number) => StageMark): void {
    this.#marks.set(stage, mark)
  }

  /** Between units, after the next one was looked for: goes on as far as it can. */
  advance(nowMs: number): void {
    const { flow, stageAtWork, sinkRecords } = this.#options
    this.#nowMs = nowMs
    if (this.#phase === 'passing' && !flow.isUnderWay) {
      this.#phase = 'writing'
      this.#passedMs = nowMs
    }
    if (this.#phase === 'writing' && stageAtWork() === undefined) {
      for (const record of sinkRecords()) this.#keep(record)
      this.#sendHome()
      this.#writtenMs = nowMs
      this.#phase = 'gathering'
    }
    if (this.#phase === 'gathering' && this.#complete.every((n, shard) => n >= flow.n || shard === this.#options.self)) this.#end()
  }

  /** A frame of state; the reason when the sender broke the rules. */
  arrive(from: number, frame: Frame): string | undefined {
    const due = this.#nextSequence[from]
    if (due === undefined) return 'it is of a shard that takes no part'
    if (frame.sequence !== due && this.#options.rules.lostFrameEndsAttempt) {
      return `frame ${frame.sequence} of state came where ${due} was due: one was lost`
    }
    this.#nextSequence[from] = frame.sequence + 1
    const listed = this.#options.codec.decode(frame.body) as readonly [number, string, Uint8Array, Uint8Array | undefined][]
    const records = listed.map(([partition, stage, key, value]): HomeRecord => ({ partition, stage, key, value: value ?? undefined }))
    this.#early.push({ n: frame.count, records })
    if (frame.last) this.#complete[from] = frame.count
    this.#writeEarly()
    return undefined
  }

  #keep(record: HomeRecord): void {
    this.#home.set(`${record.partition} ${record.stage} ${Buffer.from(record.key).toString('latin1')}`, record)
  }

  #sendHome(): void {
    const { flow, owners, self, shards, writer, send } = this.#options
    const byShard: HomeRecord[][] = Array.from({ length: shards }, () => [])
    for (const record of this.#home.values()) byShard[owners[record.partition] as number]?.push(record)
    this.#home = new Map()
    this.#write(byShard[self] as HomeRecord[], flow.n)
    for (const [shard, records] of byShard.entries()) {
      if (shard === self) continue
      let at = 0
      do {
        const some = records.slice(at, endOfFrame(records, at))
        at += some.length
        const listed = some.map(({ partition, stage, key, value }) => [partition, stage, key, value ?? null])
        // Every receiver numbers this sender's frames of its own.
        send(shard, writer.state(this.#sequenceTo(shard), flow.n, listed, at >= records.length))
      } while (at < records.length)
    }
  }

  #sequenceTo(shard: number): number {
    const sequence = this.#sequences.get(shard) ?? 0
    this.#sequences.set(shard, sequence + 1)
    return sequence
  }

  #writeEarly(): void {
    const { flow } = this.#options
    const due = this.#early.filter(({ n }) => n <= flow.n)
    if (due.length === 0) return
    this.#early = this.#early.filter(({ n }) => n > flow.n)
    for (const { n, records } of due) this.#write(records, n)
  }

  #write(records: readonly HomeRecord[], n: number): void {
    const { store } = this.#options
    const groups = new Map<string, { readonly partition: number; readonly stage: string; readonly changes: StateChange[] }>()
    for (const { partition, stage, key, value } of records) {
      const name = `${partition} ${stage}`
      let group = groups.get(name)
      if (group === undefined) groups.set(name, (group = { partition, stage, changes: [] }))
      group.changes.push({ key, value })
      this.#homeBytes += key.length + (value?.length ?? 0)
    }
    this.#homeRecords += records.length
    for (const { partition, stage, changes } of groups.values()) store.write(partition, stage, changes, n)
  }

  #end(): void {
    const { store, flow, rules } = this.#options
    this.#phase = 'committing'
    const { n } = flow
    const isEmpty = this.#marks.size === 0
    this.#uncommitted = this.#partitions.length
    if (this.#uncommitted === 0) this.#answer(n)
    if (!rules.answerAfterCommit) this.#answer(n)
    for (const partition of this.#partitions) {
      if (isEmpty && !rules.barrierRecordAlways) this.#partitionDone(n)
      else
        store.endBarrier(partition, n, this.#record(partition), error =>
          error === undefined ? this.#partitionDone(n) : this.#options.fail(error),
        )
    }
  }

  #record(partition: number): Uint8Array {
    return encodeMarks(new Map([...this.#marks].map(([stage, mark]) => [stage, mark(partition)])), this.#options.codec)
  }

  #partitionDone(n: number): void {
    if (n !== this.#options.flow.n || this.#phase !== 'committing') return
    this.#uncommitted -= 1
    if (this.#uncommitted === 0) this.#answer(n)
  }

  #answer(n: number): void {
    if (this.#phase === 'answered') return
    this.#phase = 'answered'
    const { written, counts } = this.#options
    const { bytes, records } = written()
    const answer = {
      n,
      ended: this.#ended,
      bytes: bytes + this.#homeBytes,
      records: records + this.#homeRecords,
      alignMs: this.#passedMs - this.#startedMs,
      writeMs: this.#writtenMs - this.#passedMs,
      commitMs: this.#nowMs - this.#writtenMs,
      stages: counts(),
    }
    this.#homeBytes = 0
    this.#homeRecords = 0
    this.#options.answer(answer)
  }
}

/** Behind the last of the records from `at` on that go into one frame. */
function endOfFrame(records: readonly HomeRecord[], at: number): number {
  let end = at
  for (let bytes = 0; end < records.length && end < at + frameRecordsMax && bytes < frameTargetBytes; end += 1) {
    const { stage, key, value } = records[end] as HomeRecord
    const recordBytes = key.length + (value?.length ?? 0)
    if (recordBytes > recordMaxBytes)
      throw new NearstateError(
        'RESOURCE_EXHAUSTED',
        `Cannot send a record of stage "${stage}" to the shard that keeps it: it is ${recordBytes} bytes, the limit is ${recordMaxBytes}; make rows, positions or handles smaller`,
      )
    bytes += recordBytes
  }
  return end
}
