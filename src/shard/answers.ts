/**
 * An operation's answer as bytes of its own: kept until it may leave, and recorded with a numbered write, so that a repeat gets exactly
 * the same answer.
 *
 *   OK or ABSENT, with nothing to say     status byte
 *   OK                                    status byte, flags, [version u64], [expires at u64], [value]
 *   ERROR                                 status byte, JSON of code, message and the user function's stack
 */
import { type ErrorCode, NearstateError } from '../base/errors.ts'
import { ResultStatus } from '../wire/generated/nearstate/v1/data.ts'
import type { ResultWriter } from '../wire/results.ts'

/** Where an operation puts its answer: a pipe's results, or `KeptAnswer`. */
export type AnswerWriter = Pick<ResultWriter, 'ok' | 'absent' | 'value' | 'detail' | 'error'>

export const okAnswer: Uint8Array = Uint8Array.of(ResultStatus.OK)
const absentAnswer: Uint8Array = Uint8Array.of(ResultStatus.ABSENT)

const flag = { value: 1, version: 2, expires: 4 } as const
const noBytes = new Uint8Array(0)

/** Takes one answer; `take` encodes it, while what it refers to is as it was. */
export class KeptAnswer implements AnswerWriter {
  #status: number = ResultStatus.OK
  #buffer: Uint8Array = noBytes
  #start = 0
  #end = -1
  #version: bigint | undefined
  #expiresAtMs: bigint | undefined
  #error: NearstateError | undefined

  ok(_id: number): void {
    this.#begin(ResultStatus.OK)
  }

  absent(_id: number): void {
    this.#begin(ResultStatus.ABSENT)
  }

  value(_id: number, buffer: Uint8Array, start: number, end: number): void {
    this.#begin(ResultStatus.OK)
    this.#buffer = buffer
    this.#start = start
    this.#end = end
  }

  detail(version: bigint, expiresAtMs: bigint | undefined): void {
    this.#version = version
    this.#expiresAtMs = expiresAtMs
  }

  error(_id: number, error: NearstateError): void {
    this.#begin(ResultStatus.ERROR)
    this.#error = error
  }

  take(): Uint8Array {
    if (this.#status === ResultStatus.ABSENT) return absentAnswer
    if (this.#error !== undefined) return encodeError(this.#error)
    if (this.#end < 0 && this.#version === undefined) return okAnswer
    return this.#encodeOk()
  }

  #begin(status: number): void {
    this.#status = status
    this.#end = -1
    this.#version = undefined
    this.#expiresAtMs = undefined
    this.#error = undefined
  }

  #encodeOk(): Uint8Array {
    const length = this.#end < 0 ? 0 : this.#end - this.#start
    const flags =
      (this.#end < 0 ? 0 : flag.value) |
      (this.#version === undefined ? 0 : flag.version) |
      (this.#expiresAtMs === undefined ? 0 : flag.expires)
    const bytes = Buffer.allocUnsafe(2 + (this.#version === undefined ? 0 : 8) + (this.#expiresAtMs === undefined ? 0 : 8) + length)
    bytes[0] = ResultStatus.OK
    bytes[1] = flags
    let at = 2
    if (this.#version !== undefined) at = bytes.writeBigUInt64BE(this.#version, at)
    if (this.#expiresAtMs !== undefined) at = bytes.writeBigUInt64BE(this.#expiresAtMs, at)
    if (length > 0) bytes.set(this.#buffer.subarray(this.#start, this.#end), at)
    return bytes
  }
}

/** Gives the answer to whom it is for. */
export function writeAnswer(writer: ResultWriter, id: number, answer: Uint8Array): void {
  if (answer.length === 1) {
    if (answer[0] === ResultStatus.OK) writer.ok(id)
    else writer.absent(id)
  } else if (answer[0] === ResultStatus.OK) writeOk(writer, id, Buffer.from(answer.buffer, answer.byteOffset, answer.length))
  else writer.error(id, decodeError(answer))
}

function writeOk(writer: ResultWriter, id: number, bytes: Buffer): void {
  const flags = bytes[1] as number
  let at = 2
  let version = 0n
  let expiresAtMs: bigint | undefined
  if ((flags & flag.version) !== 0) {
    version = bytes.readBigUInt64BE(at)
    at += 8
  }
  if ((flags & flag.expires) !== 0) {
    expiresAtMs = bytes.readBigUInt64BE(at)
    at += 8
  }
  if ((flags & flag.value) !== 0) writer.value(id, bytes, at, bytes.length)
  else writer.ok(id)
  if ((flags & flag.version) !== 0) writer.detail(version, expiresAtMs)
}

function encodeError({ code, message, functionStack }: NearstateError): Uint8Array {
  const json = Buffer.from(JSON.stringify(functionStack === undefined ? [code, message] : [code, message, functionStack]))
  return Buffer.concat([Uint8Array.of(ResultStatus.ERROR), json])
}

function decodeError(answer: Uint8Array): NearstateError {
  const [code, message, functionStack] = JSON.parse(Buffer.from(answer.subarray(1)).toString()) as [ErrorCode, string, string?]
  return new NearstateError(code, message, functionStack === undefined ? {} : { functionStack })
}
