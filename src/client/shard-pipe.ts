/**
 * The client's stream to one shard.
 *
 * Owns: batching (all operations of one turn of the event loop leave as one message), numbering, the table of the unanswered, chunked
 * values, pacing by the stream's back-pressure. Does not: choose shards or retry; what was not done goes back to the router.
 *
 * 1. Nothing is written before the shard has answered the opening of the stream, so what fails before that was not sent.
 * 2. At most `inFlightMax` operations are unanswered; up to `waitingMax` more wait in order; above that a call is refused.
 * 3. No more uploads are open than the shard takes: one counts until its operation has its answer, whether or not anybody waits for it.
 */
import { NearstateError } from '../base/errors.ts'
import type { PipeStream, PipeStreamListener } from '../transport/pipe-stream.ts'
import { ChunkAssembler, chunksOf } from '../wire/chunks.ts'
import {
  type MapDeclaration,
  type OperationBatch,
  type ResultBatch,
  type ResultDetail,
  ResultStatus,
  type SessionDeclaration,
} from '../wire/generated/nearstate/v1/data.ts'
import {
  answerMaxBytesOf,
  batchOperationsMax,
  batchTargetBytes,
  chunkMaxBytes,
  mapSlotsMax,
  uploadsMax,
  uploadsMaxBytes,
  wireVersion,
} from '../wire/limits.ts'
import { emptyBatch, emptyOptions, isWrite, OperationBuilder } from '../wire/operations.ts'
import { errorOf, type ResultReader } from '../wire/results.ts'
import { type AnswerTaker, Answers } from './answers.ts'
import { InFlight } from './in-flight.ts'
import type { MapRoute, Operation } from './operation.ts'
import type { PartitionSession } from './partition-session.ts'

export interface PipeOwner {
  /** The shard did nothing: its table is another one. `tableVersion` is the shard's. */
  onNotOwner(operation: Operation, tableVersion: bigint): void
  /** The shard did nothing: it cannot now, and will soon. */
  onNotNow(operation: Operation): void
  /** The shard did nothing: it does not know the session. */
  onSessionUnknown(operation: Operation): void
  /** The shard has no answer; `operation.mayHaveHappened` says whether it may have done something. */
  onTryAgain(operation: Operation): void
  /** The stream is gone with these, in order; `operation.sent` says which may have reached the shard. */
  onPipeDown(pipe: ShardPipe, operations: readonly Operation[], error: NearstateError): void
  onPipeUp(pipe: ShardPipe): void
}

export interface PipeLimits {
  readonly inFlightMax: number
  readonly waitingMax: number
  /** Bytes of keys and values written and not answered, above which operations wait. */
  readonly inFlightMaxBytes: number
  readonly valueMaxBytes: number
}

/** What is under way is kept apart in up to so many batches, none of them smaller than that for its own sake. */
const wavesMax = 4
const portionMin = 32

export class ShardPipe implements AnswerTaker, PipeStreamListener {
  readonly address: string
  readonly #gateway: boolean
  readonly #owner: PipeOwner
  readonly #limits: PipeLimits
  readonly #stream: PipeStream
  readonly #builder = new OperationBuilder()
  readonly #assembler: ChunkAssembler
  readonly #answers: Answers = new Answers(this)
  readonly #slots = new Map<MapRoute, number>()
  readonly #inFlight = new InFlight()
  #queued: Operation[] = []
  #waiting: Operation[] = []
  #declarations: MapDeclaration[] = []
  /** Of the sessions declared on this stream, by partition. */
  readonly #tickets: (Buffer | undefined)[] = []
  #sessions: SessionDeclaration[] = []
  #pendingChunks: { upload: number; value: Buffer }[] = []
  /** Sizes of the values sent in chunks, by operation, until the answer comes. */
  readonly #uploads = new Map<number, number>()
  /** Of those and of `#pendingChunks`. */
  #uploadBytes = 0
  #inFlightBytes = 0
  #nextId = 0
  #nextUpload = 1
  #flushPending = false
  /** The shard has sent its last answers: what has none was not done. */
  #isOver = false
  /** When operations were unanswered first, or an answer came last. */
  #heardAtMs = 0
  #state: 'opening' | 'open' | 'full' | 'down' = 'opening'
  /** Version of the table that operations are routed by; the router keeps it current. */
  tableVersion = 0n

  constructor(address: string, gateway: boolean, open: (listener: ShardPipe) => PipeStream, owner: PipeOwner, limits: PipeLimits) {
    this.address = address
    this.#gateway = gateway
    this.#owner = owner
    this.#limits = limits
    this.#assembler = new ChunkAssembler(answerMaxBytesOf(limits.valueMaxBytes))
    this.#stream = open(this)
    this.#stream.write({ ...emptyBatch(), wireVersion })
  }

  get isDown(): boolean {
    return this.#state === 'down'
  }

  get unansweredCount(): number {
    return this.#inFlight.size + this.#queued.length + this.#waiting.length
  }

  /** Takes an operation; key and value bytes are copied before it returns. */
  submit(
    operation: Operation,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array | undefined,
    valueStart: number,
    valueEnd: number,
  ): void {
    if (this.#waiting.length > 0 || this.#isFull(valueEnd - valueStart)) {
      this.#wait(operation, key, keyStart, keyEnd, value, valueStart, valueEnd)
      return
    }
    this.#append(operation, key, keyStart, keyEnd, value, valueStart, valueEnd)
  }

  /** Sends a parked or waiting operation from its own bytes. */
  resubmit(operation: Operation): void {
    const value = operation.valueEnd > operation.valueStart ? operation.values : undefined
    this.submit(operation, operation.keys, operation.keyStart, operation.keyEnd, value, operation.valueStart, operation.valueEnd)
  }

  /** Whether operations are unanswered and nothing was heard of the shard for so long. */
  isSilent(nowMs: number, forMs: number): boolean {
    return this.#inFlight.size > 0 && nowMs - this.#heardAtMs > forMs
  }

  /** Takes out the writes of a session that have not been sent. */
  takeWaiting(session: PartitionSession): Operation[] {
    const taken = this.#waiting.filter(operation => operation.session === session)
    if (taken.length > 0) this.#waiting = this.#waiting.filter(operation => operation.session !== session)
    return taken
  }

  /** Fails what has passed its deadline; called every some milliseconds. */
  expire(nowMs: number): void {
    for (const operation of this.#inFlight.takeIf(candidate => candidate.settled || candidate.deadlineMs <= nowMs)) {
      this.#inFlightBytes -= bytesOf(operation)
      operation.fail(operation.unanswered('DEADLINE_EXCEEDED', `no answer from ${this.address} within the time-out`))
    }
    for (const operation of this.#queued) expireUnsent(operation, nowMs)
    if (this.#waiting.length === 0) return
    for (const operation of this.#waiting) expireUnsent(operation, nowMs)
    this.#waiting = this.#waiting.filter(operation => !operation.settled)
    this.#admitWaiting()
  }

  close(error: NearstateError): void {
    this.#down(error)
    this.#stream.close()
  }

  // What the transport reports:

  onOpen(): void {
    if (this.#state !== 'opening') return
    this.#state = 'open'
    this.#owner.onPipeUp(this)
    this.#flush()
    this.#admitWaiting()
  }

  onDrain(): void {
    if (this.#state !== 'full') return
    this.#state = 'open'
    this.#flush()
    this.#admitWaiting()
  }

  onResults(batch: ResultBatch): void {
    if (this.#state === 'down') return
    this.#heardAtMs = performance.now()
    this.#answers.push(batch)
    if (!batch.last) return
    this.#answers.drain()
    this.#isOver = true
    this.close(new NearstateError('UNAVAILABLE', `the shard at ${this.address} has stopped`))
  }

  onDown(error: NearstateError): void {
    this.#answers.drain()
    this.#down(error)
  }

  #append(
    operation: Operation,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array | undefined,
    valueStart: number,
    valueEnd: number,
  ): void {
    const slot = this.#slots.get(operation.route) ?? this.#declare(operation.route)
    if (slot === mapSlotsMax) {
      operation.fail(tooManyMaps(operation.route.name))
      return
    }
    const valueBytes = valueEnd - valueStart
    if (this.#builder.count >= batchOperationsMax || this.#builder.bytes + keyEnd - keyStart + valueBytes > batchTargetBytes) this.#flush()
    let options = operation.options
    let inline = value
    if (value !== undefined && valueBytes > chunkMaxBytes) {
      operation.largeValue ??= Buffer.from(value.subarray(valueStart, valueEnd))
      options = { ...(options ?? emptyOptions()), upload: this.#upload(operation.largeValue) }
      inline = undefined
    }
    this.#builder.append(operation.kind, slot, key, keyStart, keyEnd, inline, valueStart, valueEnd, options)
    const { session } = operation
    if (session !== undefined) {
      if (this.#tickets[session.partition] !== session.ticket) this.#declareSession(session)
      this.#builder.number(operation.number, operation.number - session.lowest)
    }
    operation.tableVersion = this.tableVersion
    this.#inFlightBytes += keyEnd - keyStart + valueBytes
    this.#queued.push(operation)
    if (!this.#flushPending) {
      this.#flushPending = true
      // Amid promise continuations a tick comes after all of them, a microtask in their midst.
      process.nextTick(this.#flushTurn)
    }
  }

  readonly #flushTurn = (): void => {
    this.#flushPending = false
    this.#flush()
  }

  /** `mapSlotsMax` when there is no room for another. */
  #declare(route: MapRoute): number {
    const slot = this.#slots.size
    if (slot === mapSlotsMax) return slot
    this.#slots.set(route, slot)
    this.#declarations.push({ slot, name: route.name, keySpace: route.keySpace, keyCodec: route.keyCodecText })
    return slot
  }

  /** In the batch of the write that was just appended: a ticket is replaced only when no write of its session is with a pipe. */
  #declareSession({ partition, ticket }: PartitionSession): void {
    this.#tickets[partition] = ticket
    if (ticket !== undefined) this.#sessions.push({ partition, ticket })
  }

  /** Whether an operation with a value of so many bytes has to wait. */
  #isFull(valueBytes: number): boolean {
    const { inFlightMax, inFlightMaxBytes } = this.#limits
    if (this.#inFlight.size + this.#queued.length >= inFlightMax || this.#inFlightBytes >= inFlightMaxBytes) return true
    // What cannot leave now stays one batch.
    if (this.#state !== 'open' && (this.#builder.bytes >= batchTargetBytes || this.#builder.count >= batchOperationsMax)) return true
    if (valueBytes <= chunkMaxBytes) return false
    const open = this.#uploads.size + this.#pendingChunks.length
    return open >= uploadsMax || (open > 0 && this.#uploadBytes + valueBytes > uploadsMaxBytes)
  }

  #upload(value: Buffer): number {
    this.#uploadBytes += value.length
    const upload = this.#nextUpload
    this.#nextUpload = upload === 0xffffffff ? 1 : upload + 1
    this.#pendingChunks.push({ upload, value })
    return upload
  }

  #wait(
    operation: Operation,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array | undefined,
    valueStart: number,
    valueEnd: number,
  ): void {
    if (this.#waiting.length >= this.#limits.waitingMax) {
      operation.fail(
        new NearstateError(
          'RESOURCE_EXHAUSTED',
          `Cannot send to ${this.address}: ${this.#limits.inFlightMax} calls are unanswered and ${this.#waiting.length} wait, which is the limit; await some of them first`,
        ),
      )
      return
    }
    if (key !== operation.keys) {
      operation.keys = Buffer.from(key.subarray(keyStart, keyEnd))
      operation.keyStart = 0
      operation.keyEnd = operation.keys.length
    }
    if (value !== undefined && value !== operation.values) {
      operation.values = Buffer.from(value.subarray(valueStart, valueEnd))
      operation.valueStart = 0
      operation.valueEnd = operation.values.length
    }
    this.#waiting.push(operation)
  }

  #flush(): void {
    if (this.#state !== 'open' || this.#queued.length === 0) return
    if (hasSettled(this.#queued)) {
      this.#dropSettled()
      if (this.#queued.length === 0) return
    }
    for (const { upload, value } of this.#pendingChunks) {
      for (const chunk of chunksOf(upload, value)) this.#stream.write({ ...emptyBatch(), chunk })
    }
    this.#pendingChunks = []
    const operations = this.#queued
    const firstId = this.#nextId
    const batch = this.#builder.take(firstId, this.tableVersion)
    this.#queued = []
    batch.gateway = this.#gateway
    if (this.#declarations.length > 0) {
      batch.maps = this.#declarations
      this.#declarations = []
    }
    if (this.#sessions.length > 0) {
      batch.sessions = this.#sessions
      this.#sessions = []
    }
    locate(operations, batch)
    if (this.#inFlight.size === 0) this.#heardAtMs = performance.now()
    for (let i = 0; i < operations.length; i += 1) {
      const operation = operations[i] as Operation
      const id = (firstId + i) >>> 0
      operation.sent = true
      this.#inFlight.add(id, operation)
      if (operation.largeValue !== undefined) this.#uploads.set(id, operation.largeValue.length)
    }
    this.#nextId = (firstId + operations.length) >>> 0
    if (!this.#stream.write(batch)) this.#state = 'full'
  }

  /** What has failed before it was sent must not happen after all: the batch is built anew without it. */
  #dropSettled(): void {
    const queued = this.#queued
    this.#queued = []
    locate(queued, this.#builder.take(0, 0n))
    for (const { value } of this.#pendingChunks) this.#uploadBytes -= value.length
    this.#pendingChunks = []
    for (const operation of queued) {
      this.#inFlightBytes -= bytesOf(operation)
      if (operation.settled) continue
      const value = operation.valueEnd > operation.valueStart ? operation.values : undefined
      this.#append(operation, operation.keys, operation.keyStart, operation.keyEnd, value, operation.valueStart, operation.valueEnd)
    }
  }

  onChunk({ chunk }: ResultBatch): void {
    if (chunk !== undefined) this.#assembler.accept(chunk)
  }

  onAnswer(reader: ResultReader, index: number): void {
    const { values, valueBounds } = reader
    const id = reader.idAt(index)
    const detail = reader.detailAt(index)
    const chunked = detail?.chunked === true ? this.#assembler.take(id) : undefined
    if (this.#uploads.size > 0) this.#uploadAnswered(id)
    const operation = this.#inFlight.take(id)
    // Its deadline has passed or its caller has left.
    if (operation === undefined) return
    this.#inFlightBytes -= bytesOf(operation)
    if (operation.settled) return
    const status = reader.statusAt(index)
    if (status === ResultStatus.OK || status === ResultStatus.ABSENT) {
      const bytes = chunked ?? values
      const start = chunked === undefined ? (valueBounds[index] as number) : 0
      const end = chunked === undefined ? (valueBounds[index + 1] as number) : chunked.length
      operation.succeed(status === ResultStatus.ABSENT, bytes, start, end, detail)
    } else if (status === ResultStatus.NOT_OWNER) {
      operation.sent = false
      this.#owner.onNotOwner(operation, reader.batch.tableVersion)
    } else {
      this.#onRefusal(operation, status, detail)
    }
  }

  #onRefusal(operation: Operation, status: ResultStatus, detail: ResultDetail | undefined): void {
    operation.sent = false
    if (status === ResultStatus.NOT_NOW) return this.#owner.onNotNow(operation)
    if (status === ResultStatus.SESSION_UNKNOWN) return this.#owner.onSessionUnknown(operation)
    const error = errorOf(detail)
    const isUnknown = error.code === 'OUTCOME_UNKNOWN' && (operation.number > 0 || !isWrite(operation.kind))
    if (!isUnknown && error.code !== 'UNAVAILABLE') return operation.fail(error)
    if (isUnknown) operation.mayHaveHappened = true
    this.#owner.onTryAgain(operation)
  }

  #uploadAnswered(id: number): void {
    this.#uploadBytes -= this.#uploads.get(id) ?? 0
    this.#uploads.delete(id)
  }

  portion(): number {
    return Math.max(portionMin, Math.ceil((this.#inFlight.size + this.#queued.length) / wavesMax))
  }

  onPortion(): void {
    if (this.#waiting.length > 0) this.#admitWaiting()
  }

  onBroken(thrown: unknown): void {
    this.#answers.clear()
    this.close(thrown instanceof NearstateError ? thrown : new NearstateError('INTERNAL', String(thrown), { cause: thrown }))
  }

  #admitWaiting(): void {
    const waiting = this.#waiting
    let taken = 0
    while (taken < waiting.length) {
      const operation = waiting[taken] as Operation
      if (this.#isFull(operation.valueEnd - operation.valueStart)) break
      taken += 1
      if (operation.settled) continue
      const value = operation.valueEnd > operation.valueStart ? operation.values : undefined
      this.#append(operation, operation.keys, operation.keyStart, operation.keyEnd, value, operation.valueStart, operation.valueEnd)
    }
    this.#waiting = taken === waiting.length ? [] : waiting.slice(taken)
  }

  #down(error: NearstateError): void {
    if (this.#state === 'down') return
    this.#state = 'down'
    // What is still in the builder gets bytes of its own, so that it can be sent elsewhere.
    locate(this.#queued, this.#builder.take(0, 0n))
    const operations = [...this.#inFlight.takeIf(() => true), ...this.#queued, ...this.#waiting].filter(operation => !operation.settled)
    if (this.#isOver) for (const operation of operations) operation.sent = false
    this.#queued = []
    this.#waiting = []
    this.#assembler.clear()
    this.#answers.clear()
    this.#owner.onPipeDown(this, operations, error)
  }
}

/** Tells the operations of a batch where their bytes lie now. */
function locate(operations: readonly Operation[], batch: OperationBatch): void {
  const { keys, keyLengths, values, valueLengths } = batch
  let keyAt = 0
  let valueAt = 0
  for (let i = 0; i < operations.length; i += 1) {
    const operation = operations[i] as Operation
    operation.keys = keys
    operation.keyStart = keyAt
    keyAt += keyLengths[i] as number
    operation.keyEnd = keyAt
    const large = operation.largeValue
    operation.values = large ?? values
    operation.valueStart = large === undefined ? valueAt : 0
    if (large === undefined && valueLengths.length > 0) valueAt += valueLengths[i] as number
    operation.valueEnd = large?.length ?? valueAt
  }
}

function hasSettled(operations: readonly Operation[]): boolean {
  for (let i = 0; i < operations.length; i += 1) if ((operations[i] as Operation).settled) return true
  return false
}

const bytesOf = (operation: Operation): number => operation.keyEnd - operation.keyStart + operation.valueEnd - operation.valueStart

const tooManyMaps = (name: string): NearstateError =>
  new NearstateError(
    'RESOURCE_EXHAUSTED',
    `Cannot use map "${name}": this connection has used ${mapSlotsMax} maps, which is the limit; use fewer maps, or a connection of its own for some`,
  )

function expireUnsent(operation: Operation, nowMs: number): void {
  if (operation.deadlineMs <= nowMs) operation.fail(operation.unanswered('DEADLINE_EXCEEDED', 'it waited for its turn beyond the time-out'))
}
