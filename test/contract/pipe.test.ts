/** `Data.Pipe` over gRPC, between the transport's own ends: flow control, ends and refusals. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { connect as connectHttp2, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2'
import type { Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { NearstateError } from '../../src/base/errors.ts'
import type { ShardId } from '../../src/base/ids.ts'
import { createGrpcClient } from '../../src/transport/grpc/client.ts'
import { connectShard, type ShardConnection } from '../../src/transport/grpc/pipe-client.ts'
import { serveShard } from '../../src/transport/grpc/serve-shard.ts'
import type { GrpcServer } from '../../src/transport/grpc/server.ts'
import { createPeerLinks } from '../../src/transport/peer-links.ts'
import type { PipeStreamListener } from '../../src/transport/pipe-stream.ts'
import type { DataServer, PipeClient, PipeHandler } from '../../src/transport/ports.ts'
import {
  DataDefinition,
  type OperationBatch,
  OperationKind,
  type OpenSessionRequest,
  type OpenSessionResponse,
  type ResultBatch,
  ResultStatus,
} from '../../src/wire/generated/nearstate/v1/data.ts'
import { emptyBatch, emptyOptions, OperationBuilder, OperationReader } from '../../src/wire/operations.ts'
import { ResultReader, ResultWriter } from '../../src/wire/results.ts'
import { eventually } from './eventually.ts'

/** Answers every operation with the bytes of its key, as many times as asked. */
class EchoShard implements DataServer {
  client: PipeClient | undefined
  readonly batches: OperationBatch[] = []
  closedCount = 0
  onDrained = (): void => undefined
  onBatch = (): void => undefined
  answers = true

  openPipe(client: PipeClient): PipeHandler {
    this.client = client
    return {
      handleBatch: batch => {
        this.batches.push(batch)
        this.onBatch()
        if (this.answers) this.answer(batch)
      },
      drained: () => this.onDrained(),
      closed: () => {
        this.closedCount += 1
      },
    }
  }

  answer(batch: OperationBatch): void {
    const reader = new OperationReader(batch)
    const writer = new ResultWriter()
    for (let i = 0; i < reader.count; i += 1) {
      writer.value(reader.idAt(i), reader.keys, reader.keyBounds[i] as number, reader.keyBounds[i + 1] as number)
    }
    for (const results of writer.take(1n)) this.client?.send(results)
  }

  async get(): Promise<never> {
    throw new NearstateError('PARTITION_LOST', 'it is lost')
  }
  set = this.get
  delete = this.get
  invoke = this.get
  async openSession({ partition }: OpenSessionRequest): Promise<OpenSessionResponse> {
    return { ticket: Buffer.alloc(16, partition) }
  }
}

class Events implements PipeStreamListener {
  readonly results: ResultBatch[] = []
  opened = false
  drains = 0
  down: NearstateError | undefined
  onOpen(): void {
    this.opened = true
  }
  onDrain(): void {
    this.drains += 1
  }
  onResults(batch: ResultBatch): void {
    this.results.push(batch)
  }
  onDown(error: NearstateError): void {
    this.down = error
  }
}

const gets = (firstId: number, keys: readonly string[]): OperationBatch => {
  const builder = new OperationBuilder()
  for (const key of keys) builder.append(OperationKind.GET, 0, Buffer.from(key), 0, key.length, undefined, 0, 0, undefined)
  return builder.take(firstId, 0n)
}

describe('a pipe', () => {
  let shard: EchoShard
  let server: GrpcServer
  let connection: ShardConnection
  let events: Events

  beforeEach(async () => {
    shard = new EchoShard()
    const listener = { onPeerMessage: () => undefined, onPeerDown: () => undefined, onPeerDrain: () => undefined }
    const links = createPeerLinks({ self: 'self' as ShardId, addressOf: () => undefined, listener })
    server = await serveShard({ host: '127.0.0.1', port: 0, server: shard, links, messageMaxBytes: 1024 * 1024 })
    connection = connectShard(`127.0.0.1:${server.port}`)
    events = new Events()
  })

  afterEach(async () => {
    connection.close()
    await server.stop(0)
  })

  test('opens before anything is sent, and answers', async () => {
    const pipe = connection.openPipe(events)
    await eventually(() => events.opened).toBe(true)
    expect(shard.batches).toEqual([])
    pipe.write(gets(7, ['a', 'bc']))
    await eventually(() => events.results.length).toBe(1)
    const reader = new ResultReader(events.results[0] as ResultBatch)
    expect([reader.idAt(0), reader.idAt(1), reader.values.toString()]).toEqual([7, 8, 'abc'])
  })

  test('that its client closes is closed once at the shard', async () => {
    const pipe = connection.openPipe(events)
    await eventually(() => events.opened).toBe(true)
    pipe.close()
    await eventually(() => shard.closedCount).toBe(1)
    expect(shard.client?.send(new ResultWriter().take(0n)[0] ?? { ...emptyResult })).toBe(true)
    expect(events.down).toBeUndefined()
  })

  test('whose connection is closed in the turn in which it comes about ends without a word', async () => {
    const sockets: Socket[] = []
    const created = (message: unknown): void => void sockets.push((message as { socket: Socket }).socket)
    subscribe('net.client.socket', created)
    connection.openPipe(events)
    unsubscribe('net.client.socket', created)
    const [socket] = sockets
    // Before http2 hears of it: so the connection is closed between that and the word of it.
    socket?.prependOnceListener('connect', () => process.nextTick(() => connection.close()))
    await new Promise<void>(resolve => socket?.once('close', () => resolve()))
    expect(events.opened).toBe(false)
  })

  test('whose client half-closes is answered first, and then ended', async () => {
    shard.answers = false
    const client = createGrpcClient(DataDefinition, `127.0.0.1:${server.port}`)
    const call = client.pipe()
    const results: ResultBatch[] = []
    const ended = new Promise<void>(resolve => call.on('end', resolve))
    call.on('data', (batch: ResultBatch) => results.push(batch))
    call.write(gets(1, ['a', 'b']))
    call.end()
    await eventually(() => shard.batches.length).toBe(1)
    expect(results).toEqual([])
    shard.answer(shard.batches[0] as OperationBatch)
    await ended
    expect(results.map(batch => batch.count)).toEqual([2])
    expect(shard.closedCount).toBe(1)
    client.close()
  })

  test('carries sessions and numbers of writes', async () => {
    const pipe = connection.openPipe(events)
    await eventually(() => events.opened).toBe(true)
    const builder = new OperationBuilder()
    const key = Buffer.from('k')
    builder.append(OperationKind.GET, 0, key, 0, 1, undefined, 0, 0, { ...emptyOptions(), anyReplica: true })
    builder.append(OperationKind.DELETE, 0, key, 0, 1, undefined, 0, 0, undefined)
    builder.number(70_000, 3)
    const ticket = Buffer.alloc(16, 5)
    pipe.write({ ...builder.take(0, 0n), sessions: [{ partition: 239, ticket }] })
    await eventually(() => shard.batches.length).toBe(1)
    const reader = new OperationReader(shard.batches[0] as OperationBatch)
    expect([reader.numberAt(0), reader.numberAt(1), reader.distanceAt(1)]).toEqual([0, 70_000, 3])
    expect(reader.sessions).toEqual([{ partition: 239, ticket }])
    expect(reader.optionsAt(0)?.anyReplica).toBe(true)
  })

  test('that the shard ends in order brings its last answers before it is down', async () => {
    shard.answers = false
    const pipe = connection.openPipe(events)
    await eventually(() => events.opened).toBe(true)
    pipe.write(gets(1, ['a', 'b']))
    await eventually(() => shard.batches.length).toBe(1)
    const writer = new ResultWriter()
    writer.notNow(1)
    for (const results of writer.takeLast(4n)) shard.client?.send(results)
    await eventually(() => events.down?.code).toBe('UNAVAILABLE')
    expect(events.results).toMatchObject([{ tableVersion: 4n, firstId: 1, count: 1, statuses: [ResultStatus.NOT_NOW], last: true }])
    expect(shard.closedCount).toBe(1)
    expect(shard.client?.send(emptyResult)).toBe(true)
  })

  test('that the shard fails ends with its error', async () => {
    connection.openPipe(events)
    await eventually(() => events.opened).toBe(true)
    shard.client?.fail(new NearstateError('UNSUPPORTED_VERSION', 'too new'))
    await eventually(() => events.down).toMatchObject({ code: 'UNSUPPORTED_VERSION', message: 'too new' })
    expect(shard.closedCount).toBe(1)
  })

  test('with bytes that are no batch ends with INVALID_ARGUMENT', async () => {
    const bytes = { encode: () => ({ finish: () => Buffer.from([0x0a, 0xff]) }), decode: DataDefinition.methods.pipe.responseType.decode }
    const definition = { ...DataDefinition, methods: { pipe: { ...DataDefinition.methods.pipe, requestType: bytes } } }
    const client = createGrpcClient(definition, `127.0.0.1:${server.port}`)
    const call = client.pipe()
    const failed = new Promise<Error>(resolve => call.on('error', failure => resolve(failure)))
    call.resume()
    call.write({} as never)
    expect(await failed).toMatchObject({ code: 3 })
    client.close()
  })

  /** Calls the pipe by hand; the trailers' status, or that of the headers where the answer is no more than that. */
  function statusOfCall(headers: OutgoingHttpHeaders, body?: Buffer): Promise<{ readonly status: string; readonly http: number }> {
    const session = connectHttp2(`http://127.0.0.1:${server.port}`)
    const stream = session.request({
      ':method': 'POST',
      ':path': '/nearstate.v1.Data/Pipe',
      'content-type': 'application/grpc',
      ...headers,
    })
    stream.resume()
    if (body !== undefined) stream.write(body)
    return new Promise((resolve, reject) => {
      let http = 0
      const done = (said: IncomingHttpHeaders): void => {
        session.destroy()
        resolve({ status: String(said['grpc-status']), http })
      }
      stream.on('response', answered => {
        http = Number(answered[':status'])
        if (answered['grpc-status'] !== undefined || http !== 200) done(answered)
      })
      stream.on('trailers', done)
      stream.on('error', reject)
    })
  }

  test('with a compressed message ends with UNIMPLEMENTED, and nothing of it is taken', async () => {
    expect(await statusOfCall({ 'grpc-encoding': 'gzip' }, Buffer.from([1, 0, 0, 0, 2, 0, 0]))).toEqual({ status: '12', http: 200 })
    expect(shard.batches).toHaveLength(0)
    expect(shard.closedCount).toBe(1)
  })

  test('whose time-out has passed ends with DEADLINE_EXCEEDED', async () => {
    expect(await statusOfCall({ 'grpc-timeout': '30m' })).toEqual({ status: '4', http: 200 })
    expect(shard.closedCount).toBe(1)
  })

  test('that is no gRPC is refused by the media type', async () => {
    expect(await statusOfCall({ 'content-type': 'text/plain' })).toMatchObject({ http: 415 })
  })

  test('that the shard pauses amid the messages of one chunk holds the rest, in order', async () => {
    shard.answers = false
    shard.onBatch = () => shard.client?.pause()
    const pipe = connection.openPipe(events)
    await eventually(() => events.opened).toBe(true)
    for (let i = 0; i < 5; i += 1) pipe.write(gets(i, [`k${i}`]))
    await eventually(() => shard.batches.length).toBe(1)
    await new Promise(resolve => setTimeout(resolve, 30))
    for (let i = 2; i <= 5; i += 1) {
      expect(shard.batches).toHaveLength(i - 1)
      shard.client?.resume()
      await eventually(() => shard.batches.length).toBe(i)
    }
    expect(shard.batches.map(({ firstId }) => firstId)).toEqual([0, 1, 2, 3, 4])
  })

  test('with a message above the limit ends with RESOURCE_EXHAUSTED', async () => {
    const pipe = connection.openPipe(events)
    await eventually(() => events.opened).toBe(true)
    pipe.write({ ...emptyBatch(), keys: Buffer.alloc(1024 * 1024 + 1) })
    await eventually(() => events.down?.code).toBe('RESOURCE_EXHAUSTED')
  })

  test('to a server that goes away is down, and a new one is refused at once', async () => {
    connection.openPipe(events)
    await eventually(() => events.opened).toBe(true)
    await server.stop(0)
    await eventually(() => events.down?.code).toBe('UNAVAILABLE')
    const again = new Events()
    connection.openPipe(again)
    await eventually(() => again.down?.code).toBe('UNAVAILABLE')
    expect(again.opened).toBe(false)
  })

  test('that the shard has paused is not read until it goes on', async () => {
    const pipe = connection.openPipe(events)
    await eventually(() => events.opened).toBe(true)
    shard.client?.pause()
    for (let i = 0; i < 50; i += 1) pipe.write(gets(i, ['k']))
    await new Promise(resolve => setTimeout(resolve, 50))
    const before = shard.batches.length
    expect(before).toBeLessThan(50)
    shard.client?.resume()
    await eventually(() => shard.batches.length).toBe(50)
  })

  test('of a client that does not read stops the shard, which goes on when it has drained', async () => {
    const client = createGrpcClient(DataDefinition, `127.0.0.1:${server.port}`)
    const call = client.pipe()
    call.on('error', () => undefined) // it is cut at the end
    // A stream of grpc-js that was never read takes without bound; one that was paused does not.
    call.on('data', () => undefined)
    call.write(gets(0, ['k']))
    await eventually(() => shard.batches.length).toBe(1)
    call.pause()
    const answer = { ...emptyResult, count: 1, statuses: [1], valueLengths: [500_000], values: Buffer.alloc(500_000) }
    let taken = 0
    const flood = (): void => {
      while (taken < 200) {
        taken += 1
        if (shard.client?.send(answer) === false) return
      }
    }
    shard.onDrained = flood
    flood()
    let before = -1
    while (before !== taken) {
      before = taken
      await new Promise(resolve => setTimeout(resolve, 100))
    }
    // What lies between: the queues of grpc-js at both ends and the windows of HTTP/2, not all that the shard could produce.
    expect(taken).toBeLessThan(100)
    call.write(gets(1, ['k']))
    await new Promise(resolve => setTimeout(resolve, 50))
    expect(shard.batches.length).toBe(1)
    call.resume()
    await eventually(() => taken).toBe(200)
    await eventually(() => shard.batches.length).toBe(2)
    client.close()
  })

  test('sessions are opened by unary calls too', async () => {
    const client = createGrpcClient(DataDefinition, `127.0.0.1:${server.port}`)
    expect(await client.openSession({ partition: 7 })).toEqual({ ticket: Buffer.alloc(16, 7) })
    client.close()
  })

  test('unary calls carry typed errors', async () => {
    const client = createGrpcClient(DataDefinition, `127.0.0.1:${server.port}`)
    await expect(client.get({ map: 'm', key: Buffer.from('k') })).rejects.toMatchObject({ code: 'PARTITION_LOST', message: 'it is lost' })
    client.close()
  })
})

const emptyResult: ResultBatch = {
  tableVersion: 0n,
  ids: [],
  firstId: 0,
  count: 0,
  statuses: [],
  valueLengths: [],
  values: Buffer.alloc(0),
  details: [],
  chunk: undefined,
  last: false,
}
