/** A bare bidirectional gRPC stream that sends every message back: the floor of what a round trip costs. */
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import { serveSide } from '../rounds.ts'
import { echoMethod } from './echo-method.ts'

serveSide({
  start: () =>
    new Promise((resolve, reject) => {
      const server = new Server()
      const echo = (call: ServerDuplexStream<Buffer, Buffer>): void => {
        call.on('data', (message: Buffer) => call.write(message))
        call.on('end', () => call.end())
        call.on('error', () => call.end())
      }
      server.addService({ echo: echoMethod }, { echo })
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (failure, port) =>
        failure === null ? resolve({ port }) : reject(failure),
      )
    }),
})
