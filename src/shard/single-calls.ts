/**
 * One operation at a time, for callers that have no pipe: the unary calls and the system's own requests. Each is a pipe of its
 * own with one batch, so they mean exactly what the same operation means on a pipe, wherever the key lives.
 * "Not owner" and "not now" are tried again for a while, since nothing was done; nothing else is.
 */
import { NearstateError } from '../base/errors.ts'
import { ChunkAssembler } from '../wire/chunks.ts'
import {
  type OperationOptions,
  type RequestId,
  type ResultBatch,
  type ResultDetail,
  ResultStatus,
} from '../wire/generated/nearstate/v1/data.ts'
import { wireVersion } from '../wire/limits.ts'
import { OperationBuilder } from '../wire/operations.ts'
import { errorOf, ResultReader } from '../wire/results.ts'
import { Pipe, type PipeKind, type PipeShared } from './pipe.ts'
import { decodeTicket } from './tickets.ts'

export interface SingleCall {
  readonly kind: number
  readonly map: string
  readonly key: Uint8Array
  readonly value?: Uint8Array
  readonly options?: OperationOptions
  /** Names a write in its client's session, so that it is done once. */
  readonly request?: RequestId
  /** Whether system maps may be named. */
  readonly as: Exclude<PipeKind, 'peer'>
}

export interface SingleAnswer {
  readonly isAbsent: boolean
  readonly value: Buffer
  readonly detail: ResultDetail | undefined
}

const retries = 50
const retryDelayMs = 40
const noBytes: Buffer = Buffer.alloc(0)

export class SingleCalls {
  readonly #shared: PipeShared
  readonly #delay: (ms: number) => Promise<void>

  constructor(shared: PipeShared, delay: (ms: number) => Promise<void>) {
    this.#shared = shared
    this.#delay = delay
  }

  /** Rejects with the operation's NearstateError. */
  async call(call: SingleCall): Promise<SingleAnswer> {
    for (let attempt = 0; attempt < retries; attempt += 1) {
      const answer = await this.#once(call)
      if (answer !== 'notNow') return answer
      await this.#delay(retryDelayMs)
    }
    throw new NearstateError(
      'UNAVAILABLE',
      `Cannot reach the entry in map "${call.map}": no shard served its partition for ${retries * retryDelayMs} ms`,
    )
  }

  #once(call: SingleCall): Promise<SingleAnswer | 'notNow'> {
    return new Promise((resolve, reject) => {
      const chunks = new ChunkAssembler(Number.MAX_SAFE_INTEGER)
      const pipe = new Pipe(
        this.#shared,
        {
          send: results => {
            settle(results, chunks, resolve, reject)
            return true
          },
          pause: () => {},
          resume: () => {},
          fail: reject,
        },
        call.as,
        call.request === undefined ? undefined : decodeTicket(call.request.ticket),
      )
      pipe.handleBatch(batchOf(call))
    })
  }
}

function batchOf({ kind, map, key, value, options, request }: SingleCall): ReturnType<OperationBuilder['take']> {
  const builder = new OperationBuilder()
  builder.append(kind, 0, key, 0, key.length, value, 0, value?.length ?? 0, options)
  if (request !== undefined) builder.number(request.number, request.number - request.lowestUnanswered)
  const batch = builder.take(0, 0n)
  batch.wireVersion = wireVersion
  batch.gateway = true
  batch.maps = [{ slot: 0, name: map, keySpace: '', keyCodec: '' }]
  return batch
}

function settle(
  results: ResultBatch,
  chunks: ChunkAssembler,
  resolve: (answer: SingleAnswer | 'notNow') => void,
  reject: (error: Error) => void,
): void {
  if (results.chunk !== undefined) {
    chunks.accept(results.chunk)
    return
  }
  const reader = new ResultReader(results)
  const detail = reader.detailAt(0)
  switch (reader.statusAt(0)) {
    case ResultStatus.NOT_OWNER:
    case ResultStatus.NOT_NOW:
      return resolve('notNow')
    case ResultStatus.SESSION_UNKNOWN:
      return reject(
        new NearstateError('NOT_FOUND', 'Cannot write: the session is not known (any more), and nothing was done; open a new one'),
      )
    case ResultStatus.OK:
      return resolve({ isAbsent: false, value: detail?.chunked === true ? chunks.take(0) : reader.values, detail })
    case ResultStatus.ABSENT:
      return resolve({ isAbsent: true, value: noBytes, detail })
    default:
      return reject(errorOf(detail))
  }
}
