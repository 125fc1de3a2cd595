/**
 * Batches of results: a writer for shards and a reader for clients.
 * The writer uses the short forms of ResultBatch where it can: consecutive ids as first_id and count, columns of equal elements
 * as one element. It closes a batch at 1 MiB of values, and cuts larger values into chunks, so no message grows beyond the limit.
 */
import { invalidArgument, isErrorCode, NearstateError } from '../base/errors.ts'
import { chunksOf } from './chunks.ts'
import { type ResultBatch, type ResultDetail, ResultStatus } from './generated/nearstate/v1/data.ts'
import { batchOperationsMax, batchTargetBytes, chunkMaxBytes } from './limits.ts'
import { copyInto } from '../base/copy-into.ts'
import { boundsOf, freshBytes, withRoom } from './operations.ts'

const noBytes: Buffer = Buffer.alloc(0)
const messageMaxCharacters = 16_384

export const emptyResults = (): ResultBatch => ({
  tableVersion: 0n,
  ids: [],
  firstId: 0,
  count: 0,
  statuses: [],
  valueLengths: [],
  values: noBytes,
  details: [],
  chunk: undefined,
  last: false,
})

/** Collects answers of one pipe. `take` returns the messages to send, in order. */
export class ResultWriter {
  #batch = emptyResults()
  #closed: ResultBatch[] = []
  #closedBytes = 0
  #values: Buffer = noBytes
  #valuesEnd = 0
  #sameStatus = true
  #sameLength = true
  #consecutive = true

  /** Answers written since the last `take`. */
  count = 0

  /** Bytes of values held. */
  get bytes(): number {
    return this.#closedBytes + this.#valuesEnd
  }

  /** Done, with nothing to say. */
  ok(id: number): void {
    this.#answer(id, ResultStatus.OK, 0)
  }

  absent(id: number): void {
    this.#answer(id, ResultStatus.ABSENT, 0)
  }

  notOwner(id: number): void {
    this.#answer(id, ResultStatus.NOT_OWNER, 0)
  }

  /** This shard cannot take it now; nothing was done. */
  notNow(id: number): void {
    this.#answer(id, ResultStatus.NOT_NOW, 0)
  }

  sessionUnknown(id: number): void {
    this.#answer(id, ResultStatus.SESSION_UNKNOWN, 0)
  }

  /** Done, with the value `buffer[start..end)`, which is copied. */
  value(id: number, buffer: Uint8Array, start: number, end: number): void {
    const length = end - start
    if (length > chunkMaxBytes) {
      this.#chunked(id, buffer.subarray(start, end))
      return
    }
    if (this.#valuesEnd + length > batchTargetBytes) this.#close()
    this.#values = withRoom(this.#values, this.#valuesEnd, length)
    this.#valuesEnd = copyInto(this.#values, this.#valuesEnd, buffer, start, end)
    this.#answer(id, ResultStatus.OK, length)
  }

  /** Adds version and expiry (wall time; undefined: never) to the answer written last. */
  detail(version: bigint, expiresAtMs: bigint | undefined): void {
    const detail = this.#detail()
    detail.version = version
    detail.expiresAtMs = expiresAtMs
  }

  error(id: number, error: NearstateError): void {
    this.#answer(id, ResultStatus.ERROR, 0)
    const detail = this.#detail()
    detail.errorCode = error.code
    detail.errorMessage = error.message.slice(0, messageMaxCharacters)
    detail.functionStack = (error.functionStack ?? '').slice(0, messageMaxCharacters)
  }

  /** The last messages of a stream: what has no answer was not done. */
  takeLast(tableVersion: bigint): ResultBatch[] {
    const batches = this.take(tableVersion)
    const last = batches.at(-1)
    if (last !== undefined) last.last = true
    else batches.push({ ...emptyResults(), tableVersion, last: true })
    return batches
  }

  take(tableVersion: bigint): ResultBatch[] {
    this.#close()
    const batches = this.#closed
    for (const batch of batches) batch.tableVersion = tableVersion
    this.#closed = []
    this.#closedBytes = 0
    this.count = 0
    return batches
  }

  #answer(id: number, status: number, length: number): void {
    if (this.#batch.ids.length === batchOperationsMax) this.#close()
    const { ids, statuses, valueLengths } = this.#batch
    const count = ids.length
    if (count > 0) {
      this.#sameStatus &&= statuses[0] === status
      this.#sameLength &&= valueLengths[0] === length
      this.#consecutive &&= ((ids[count - 1] as number) + 1) >>> 0 === id
    }
    ids.push(id)
    statuses.push(status)
    valueLengths.push(length)
    this.count += 1
  }

  #detail(): ResultDetail {
    const { ids, details } = this.#batch
    const index = ids.length - 1
    const last = details.at(-1)
    if (last?.index === index) return last
    const detail: ResultDetail = {
      index,
      version: 0n,
      expiresAtMs: undefined,
      errorCode: '',
      errorMessage: '',
      functionStack: '',
      chunked: false,
    }
    details.push(detail)
    return detail
  }

  #chunked(id: number, value: Uint8Array): void {
    this.#close()
    for (const chunk of chunksOf(id, Buffer.from(value))) this.#closed.push({ ...emptyResults(), chunk })
    this.#closedBytes += value.length
    this.#answer(id, ResultStatus.OK, 0)
    this.#detail().chunked = true
  }

  #close(): void {
    const batch = this.#batch
    const count = batch.ids.length
    if (count === 0) return
    batch.values = this.#values.subarray(0, this.#valuesEnd)
    if (this.#consecutive) {
      batch.firstId = batch.ids[0] as number
      batch.count = count
      batch.ids = []
    }
    if (this.#sameStatus) batch.statuses.length = 1
    if (this.#valuesEnd === 0) batch.valueLengths = []
    else if (this.#sameLength) batch.valueLengths.length = 1
    this.#closed.push(batch)
    this.#closedBytes += this.#valuesEnd
    this.#values = this.#valuesEnd === 0 ? noBytes : freshBytes(this.#valuesEnd)
    this.#valuesEnd = 0
    this.#sameStatus = true
    this.#sameLength = true
    this.#consecutive = true
    this.#batch = emptyResults()
  }
}

/** The client's view of one batch of answers; checks lengths and sums once. Throws INVALID_ARGUMENT: the stream must end. */
export class ResultReader {
  readonly batch: ResultBatch
  readonly count: number
  readonly values: Buffer
  readonly valueBounds: Int32Array
  readonly #oneStatus: boolean
  #nextDetail = 0

  constructor(batch: ResultBatch) {
    const consecutive = batch.ids.length === 0
    const count = consecutive ? batch.count : batch.ids.length
    if (count > batchOperationsMax) throw invalidArgument(`Cannot read results: ${count} answers, limit is ${batchOperationsMax}`)
    if (batch.statuses.length !== count && (batch.statuses.length !== 1 || count === 0)) {
      throw invalidArgument(`Cannot read results: ${batch.statuses.length} statuses for ${count} answers`)
    }
    if (batch.valueLengths.length > 1 && batch.valueLengths.length !== count) {
      throw invalidArgument(`Cannot read results: ${batch.valueLengths.length} value lengths for ${count} answers`)
    }
    this.batch = batch
    this.count = count
    this.values = batch.values
    this.valueBounds = boundsOf('values', batch.valueLengths, count, batch.values.length)
    this.#oneStatus = batch.statuses.length === 1
  }

  idAt(index: number): number {
    const { ids, firstId } = this.batch
    return ids.length === 0 ? (firstId + index) >>> 0 : (ids[index] as number)
  }

  statusAt(index: number): ResultStatus {
    return this.batch.statuses[this.#oneStatus ? 0 : index] as ResultStatus
  }

  /** To be asked in ascending order. */
  detailAt(index: number): ResultDetail | undefined {
    const { details } = this.batch
    while (this.#nextDetail < details.length && (details[this.#nextDetail] as ResultDetail).index < index) this.#nextDetail += 1
    const detail = details[this.#nextDetail]
    return detail?.index === index ? detail : undefined
  }
}

/** The error that a detail stands for. A code of a newer node counts as INTERNAL. */
export function errorOf(detail: ResultDetail | undefined): NearstateError {
  const code = detail?.errorCode ?? ''
  const message = detail?.errorMessage ?? 'the shard gave no reason'
  if (!isErrorCode(code)) return new NearstateError('INTERNAL', `${message} (code "${code}")`)
  return new NearstateError(code, message, detail?.functionStack ? { functionStack: detail.functionStack } : {})
}
