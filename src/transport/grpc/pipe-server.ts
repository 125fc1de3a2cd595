/**
 * The shard's end of `Data.Pipe`.
 *
 * Owns: flow control (a client is not read while the shard has paused it, or while its answers pile up), the orderly end after the
 * client has half-closed (all that it sent is answered first) or the shard has sent its last answers, and refusing bytes that are no batch.
 */
import { Metadata } from '@grpc/grpc-js'
import type { OperationBatch, ResultBatch } from '../../wire/generated/nearstate/v1/data.ts'
import type { DataServer, PipeHandler } from '../ports.ts'
import { unreadable } from './pipe-serializers.ts'
import type { DuplexCall } from './service.ts'
import { statusOf } from './status.ts'

export function servePipe(server: DataServer, call: DuplexCall<OperationBatch, ResultBatch>): void {
  const pipe = new PipeCall(call)
  pipe.handler = server.openPipe(pipe)
  // The client sends operations only after it has seen the headers, so what fails before was never sent.
  call.sendMetadata(new Metadata())
}

class PipeCall {
  handler: PipeHandler | undefined
  readonly #call: DuplexCall<OperationBatch, ResultBatch>
  #isPaused = false
  #isBlocked = false
  #isOver = false
  #halfClosed = false
  #unanswered = 0

  constructor(call: DuplexCall<OperationBatch, ResultBatch>) {
    this.#call = call
    call.on('data', (batch: OperationBatch) => this.#onBatch(batch))
    call.on('drain', () => this.#onDrain())
    call.on('end', () => {
      this.#halfClosed = true
      this.#endIfAnswered()
    })
    call.on('cancelled', () => this.#closed())
    call.on('error', () => this.#closed())
    call.on('close', () => this.#closed())
  }

  send(results: ResultBatch): boolean {
    if (this.#isOver) return true
    this.#unanswered -= results.ids.length === 0 ? results.count : results.ids.length
    const more = this.#call.write(results)
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
    this.#closed()
    this.#call.emit('error', statusOf(error))
  }

  #onBatch(batch: OperationBatch): void {
    if (this.#isOver) return
    const failure = unreadable.get(batch)
    if (failure !== undefined) {
      this.fail(failure)
      return
    }
    this.#unanswered += batch.keyLengths.length
    this.handler?.handleBatch(batch)
  }

  #onDrain(): void {
    if (!this.#isBlocked) return
    this.#isBlocked = false
    this.#readOn()
    if (!this.#isOver) this.handler?.drained()
  }

  #readOn(): void {
    if (!this.#isPaused && !this.#isBlocked) this.#call.resume()
  }

  #endIfAnswered(): void {
    if (this.#halfClosed && !this.#isOver && this.#unanswered === 0) this.#end()
  }

  #end(): void {
    this.#closed()
    this.#call.end()
  }

  #closed(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.handler?.closed()
  }
}
