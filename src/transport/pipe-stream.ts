/** A client's end of `Data.Pipe`. */
import type { NearstateError } from '../base/errors.ts'
import type { OperationBatch, ResultBatch } from '../wire/generated/nearstate/v1/data.ts'

export interface PipeStream {
  /** False: the shard reads slowly (the batch was taken all the same); wait for onDrain. */
  write(batch: OperationBatch): boolean
  close(): void
}

export interface PipeStreamListener {
  /** The shard has taken the stream: it sends its headers at once when a pipe opens. */
  onOpen(): void
  onDrain(): void
  onResults(batch: ResultBatch): void
  /** Said once, also after an orderly end by the shard; nothing follows. */
  onDown(error: NearstateError): void
}
