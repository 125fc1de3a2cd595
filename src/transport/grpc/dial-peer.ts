/** Outgoing peer streams over gRPC. */
import type { ServiceError } from '@grpc/grpc-js'
import { NearstateError } from '../../base/errors.ts'
import { PeerDefinition, type PeerMessage } from '../../wire/generated/nearstate/v1/peer.ts'
import type { Dial } from '../peer-links.ts'
import { createGrpcClient } from './client.ts'
import { errorOfStatus } from './status.ts'

export const dialPeer: Dial = (address, hello, events, messageMaxBytes) => {
  const client = createGrpcClient(PeerDefinition, address, messageMaxBytes === undefined ? {} : { messageMaxBytes })
  const call = client.link()
  let down = false
  const end = (error: NearstateError): void => {
    if (down) return
    down = true
    call.cancel()
    client.close()
    events.onDown(error)
  }
  call.on('error', failure => end(errorOfStatus(failure as ServiceError, `link to shard ${hello.to} at ${address}`)))
  call.on('end', () => end(new NearstateError('UNAVAILABLE', `shard ${hello.to} at ${address} has ended the link`)))
  // The callee sends nothing on this stream, but only a stream that is read notices its end.
  call.resume()
  const write = (body: NonNullable<PeerMessage['body']>, done: () => void): void => {
    if (!down) call.write({ body }, done)
  }
  write({ $case: 'hello', value: { wireVersion: hello.wireVersion, fromShard: hello.from, toShard: hello.to } }, () => {})
  return {
    send: (kind, bytes) => {
      const { length } = bytes
      // The bytes may be reused by the caller before the stream gets to them.
      write({ $case: kind, value: Buffer.from(bytes) }, () => events.onSent(length))
    },
    close: () => {
      down = true
      call.cancel()
      client.close()
    },
  }
}
