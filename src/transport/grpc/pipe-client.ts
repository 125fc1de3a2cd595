/** Opens pipes to one shard over one connection. */
import type { ServiceError } from '@grpc/grpc-js'
import { NearstateError } from '../../base/errors.ts'
import { DataDefinition } from '../../wire/generated/nearstate/v1/data.ts'
import type { PipeStream, PipeStreamListener } from '../pipe-stream.ts'
import { createGrpcClient } from './client.ts'
import { pipeSerializers } from './pipe-serializers.ts'
import { errorOfStatus } from './status.ts'

export interface ShardConnection {
  openPipe(listener: PipeStreamListener): PipeStream
  close(): void
}

export function connectShard(address: string, messageMaxBytes?: number): ShardConnection {
  const client = createGrpcClient(DataDefinition, address, {
    serializers: { pipe: pipeSerializers },
    ...(messageMaxBytes === undefined ? {} : { messageMaxBytes }),
  })
  return {
    openPipe(listener) {
      const call = client.pipe()
      let down = false
      const end = (error: NearstateError): void => {
        if (down) return
        down = true
        listener.onDown(error)
      }
      call.on('metadata', () => listener.onOpen())
      call.on('drain', () => listener.onDrain())
      call.on('data', results => {
        if (!down) listener.onResults(results)
      })
      call.on('error', failure => end(errorOfStatus(failure as ServiceError, `pipe to ${address}`)))
      call.on('end', () => end(new NearstateError('UNAVAILABLE', `the shard at ${address} has ended the stream`)))
      return {
        write: batch => call.write(batch),
        close() {
          down = true
          call.cancel()
        },
      }
    },
    close: () => client.close(),
  }
}
