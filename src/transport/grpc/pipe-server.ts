/**
 * The shard's end of `Data.Pipe`.
 *
 * Owns: flow control (a client is not read while the shard has paused it, or while its answers pile up), the orderly end after the
 * client has half-closed (all that it sent is answered first) or the shard has sent its last answers, and refusing bytes that are no batch.
 */
import type { OperationBatch, ResultBatch } from '../../wire/generated/nearstate/v1/data.ts'
import type { DataServer, PipeHandler } from '../ports.ts'
import type { DuplexCall, DuplexListener } from './duplex-call.ts'

export function servePipe(server: DataServer, call: DuplexCall<OperationBatch, ResultBatch>): DuplexListener<OperationBatch> {
  const pipe = new PipeCall(call)
  pipe.handler = server.openPipe(pipe)
  // The client sends operations only after it has seen the headers, so what fails before was never sent.
  call.sendHeaders()
  return pipe
}

class PipeCall implements DuplexListener<OperationBatch> {
  handler: PipeHandler | undefined
  readonly #call: DuplexCall<OperationBatch, ResultBatch>
  #isPaused = false
  #isBlocked = false
  #isOver = false
  #halfClosed = false
  #unanswered = 0

  constructor(call: DuplexCall<OperationBatch, ResultBatch>) {
    this.#call = call
  }

  send(results: ResultBatch): boolean {
    if (this.#isOver) return true
    this.#unanswered -= results.ids.length === 0 ? results.count : results.ids.length
    const more = this.#call.send(results)
    if (!more && !this.#isBlocked) {
      this.#isBlocked = true
      this.#call.pause()
    }
    if (results.last) this.#end()
    else this.#endIfAnswered()
    return more
  }

  pause(): void {
    this.#isPaused = true
    this.#call.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#readOn()
  }

  fail(error: Error): void {
    if (this.#isOver) return
    this.onGone()
    this.#call.fail(error)
  }

  onMessage(batch: OperationBatch): void {
    if (this.#isOver) return
    this.#unanswered += batch.keyLengths.length
    this.handler?.handleBatch(batch)
  }

  onDrain(): void {
    if (!this.#isBlocked) return
    this.#isBlocked = false
    this.#readOn()
    if (!this.#isOver) this.handler?.drained()
  }

  onHalfClose(): void {
    this.#halfClosed = true
    this.#endIfAnswered()
  }

  onGone(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.handler?.closed()
  }

  #readOn(): void {
    if (!this.#isPaused && !this.#isBlocked) this.#call.resume()
  }

  #endIfAnswered(): void {
    if (this.#halfClosed && !this.#isOver && this.#unanswered === 0) this.#end()
  }

  #end(): void {
    this.onGone()
    this.#call.end()
  }
}
