import { MessageChannel } from 'node:worker_threads'
import type { ServiceError } from '@grpc/grpc-js'
import { describe, expect, test } from 'vitest'
import { NearstateError } from '../../src/base/errors.ts'
import type { ShardId } from '../../src/base/ids.ts'
import { createGrpcClient } from '../../src/transport/grpc/client.ts'
import { peerService } from '../../src/transport/grpc/peer-service.ts'
import { type GrpcServer, serveGrpc } from '../../src/transport/grpc/server.ts'
import { errorOfStatus } from '../../src/transport/grpc/status.ts'
import { LoopbackNetwork } from '../../src/transport/loopback.ts'
import { createPeerLinks, type ShardPeerLinks } from '../../src/transport/peer-links.ts'
import { PeerDefinition, type PeerMessage } from '../../src/wire/generated/nearstate/v1/peer.ts'
import { highWaterBytes, type LinkedPair, peerLinksContract, RecordingListener, shardA, shardB } from './peer-links-contract.ts'
import { eventually } from './eventually.ts'

const serve = (links: ShardPeerLinks, port = 0): Promise<GrpcServer> =>
  serveGrpc({ host: '127.0.0.1', port, services: [peerService(links)] })

async function grpcPair(): Promise<LinkedPair> {
  const addresses = new Map<ShardId, string>()
  const onA = new RecordingListener()
  const onB = new RecordingListener()
  const addressOf = (shard: ShardId): string | undefined => addresses.get(shard)
  const a = createPeerLinks({ self: shardA, addressOf, listener: onA, highWaterBytes })
  const b = createPeerLinks({ self: shardB, addressOf, listener: onB, highWaterBytes })
  const serverA = await serve(a)
  let serverB = await serve(b)
  addresses.set(shardA, `127.0.0.1:${serverA.port}`)
  addresses.set(shardB, `127.0.0.1:${serverB.port}`)
  return {
    a,
    b,
    onA,
    onB,
    isCutForGood: false,
    cut: async () => {
      const { port } = serverB
      await serverB.stop(0)
      serverB = await serve(b, port)
    },
    stop: async () => {
      await Promise.all([a.stop(), b.stop()])
      await Promise.all([serverA.stop(0), serverB.stop(0)])
    },
  }
}

async function loopbackPair(): Promise<LinkedPair> {
  const network = new LoopbackNetwork()
  const onA = new RecordingListener()
  const onB = new RecordingListener()
  const a = network.join({ self: shardA, listener: onA, highWaterBytes })
  const b = network.join({ self: shardB, listener: onB, highWaterBytes })
  return {
    a,
    b,
    onA,
    onB,
    isCutForGood: false,
    cut: () => network.cutAll(),
    stop: async () => {
      await Promise.all([a.stop(), b.stop()])
    },
  }
}

async function threadPair(): Promise<LinkedPair> {
  const { port1, port2 } = new MessageChannel()
  const onA = new RecordingListener()
  const onB = new RecordingListener()
  const a = createPeerLinks({ self: shardA, addressOf: () => undefined, listener: onA, highWaterBytes })
  const b = createPeerLinks({ self: shardB, addressOf: () => undefined, listener: onB, highWaterBytes })
  a.addThreadLink(shardB, port1)
  b.addThreadLink(shardA, port2)
  const stop = async (): Promise<void> => {
    await Promise.all([a.stop(), b.stop()])
  }
  return { a, b, onA, onB, isCutForGood: true, cut: () => port1.close(), stop }
}

peerLinksContract('gRPC', grpcPair)
peerLinksContract('loopback', loopbackPair)
peerLinksContract('threads', threadPair)

describe('hello', () => {
  const listener = new RecordingListener()
  const links = createPeerLinks({ self: shardB, addressOf: () => undefined, listener })

  const refusal = async (first: PeerMessage): Promise<NearstateError> => {
    const server = await serve(links)
    const client = createGrpcClient(PeerDefinition, `127.0.0.1:${server.port}`)
    const call = client.link()
    const failed = new Promise<NearstateError>(resolve =>
      call.on('error', failure => resolve(errorOfStatus(failure as ServiceError, 'link'))),
    )
    call.resume()
    call.write(first)
    const error = await failed
    client.close()
    await server.stop(0)
    return error
  }

  test('another incarnation than this shard is not reached by mistake', async () => {
    const hello = { wireVersion: 1, fromShard: shardA, toShard: 'the one before' }
    expect(await refusal({ body: { $case: 'hello', value: hello } })).toMatchObject({ code: 'NOT_FOUND' })
  })

  test('another wire version is refused', async () => {
    const hello = { wireVersion: 2, fromShard: shardA, toShard: shardB }
    expect(await refusal({ body: { $case: 'hello', value: hello } })).toMatchObject({ code: 'UNSUPPORTED_VERSION' })
  })

  test('a stream begins with it', async () => {
    const error = await refusal({ body: { $case: 'exchange', value: Buffer.from('x') } })
    expect(error).toBeInstanceOf(NearstateError)
    expect(error.code).toBe('INVALID_ARGUMENT')
    expect(listener.messages).toEqual([])
  })

  test('a second one tells that the first stream is lost, whose rest is not heard', () => {
    const events = new RecordingListener()
    const own = createPeerLinks({ self: shardB, addressOf: () => undefined, listener: events })
    let closed = 0
    const first = own.accept({ wireVersion: 1, from: shardA, to: shardB }, () => (closed += 1))
    const second = own.accept({ wireVersion: 1, from: shardA, to: shardB }, () => (closed += 1))
    expect([closed, events.downs]).toEqual([1, [shardA]])
    first.receive('exchange', Buffer.from('late'))
    first.ended()
    second.receive('exchange', Buffer.from('new'))
    expect(events.messages.map(message => message.text)).toEqual(['new'])
    expect(events.downs).toEqual([shardA])
  })
})

test('a send to a shard that nobody knows is a link that is down', async () => {
  const listener = new RecordingListener()
  const links = createPeerLinks({ self: shardA, addressOf: () => undefined, listener })
  links.send(shardB, 'exchange', Buffer.from('x'))
  expect(listener.downs).toEqual([])
  await eventually(() => listener.downs).toEqual([shardB])
})
