/** Opens pipes to one shard over one connection. */
import { decodeResultBatch, encodeOperationBatch } from '../../wire/batch-codec.ts'
import { DataDefinition } from '../../wire/generated/nearstate/v1/data.ts'
import type { PipeStream, PipeStreamListener } from '../pipe-stream.ts'
import { Http2Connection } from './http2-stream.ts'

export interface ShardConnection {
  openPipe(listener: PipeStreamListener): PipeStream
  close(): void
}

const path = `/${DataDefinition.fullName}/${DataDefinition.methods.pipe.name}`

export function connectShard(address: string, messageMaxBytes?: number): ShardConnection {
  const connection = new Http2Connection(address, messageMaxBytes)
  return {
    openPipe(listener) {
      const stream = connection.open(path, `pipe to ${address}`, {
        onOpen: () => listener.onOpen(),
        onDrain: () => listener.onDrain(),
        onMessage: bytes => listener.onResults(decodeResultBatch(bytes)),
        onDown: error => listener.onDown(error),
      })
      return {
        write: batch => stream.write(encodeOperationBatch(batch)),
        close: () => stream.close(),
      }
    },
    close: () => connection.close(),
  }
}
