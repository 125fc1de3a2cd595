/** Real workers with real ports: what only reality shows. The test is the control thread. */
import { MessageChannel, Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Epoch, MapId, NodeId, ShardId } from '../../src/base/ids.ts'
import { bundleFile } from '../../src/bundling/bundle-file.ts'
import type { MapDefinition } from '../../src/grid/map-definition.ts'
import { Watchdog } from '../../src/node/watchdog.ts'
import type { FromShard, ShardAnswers, ShardRequest, ShardStart, ToShard } from '../../src/shard/protocol.ts'
import { createPromiseCell } from '../../src/shard/promise-cell.ts'
import { createCallCell } from '../../src/shard/user-code/call-cell.ts'
import { createGrpcClient, type GrpcClient } from '../../src/transport/grpc/client.ts'
import { connectShard } from '../../src/transport/grpc/pipe-client.ts'
import { DataDefinition, OperationKind, type ResultBatch } from '../../src/wire/generated/nearstate/v1/data.ts'
import { OperationBuilder } from '../../src/wire/operations.ts'
import { decodeValue, encodeValue } from '../../src/wire/value-codec.ts'

const partitionCount = 8
const definitions = new Map<string, MapDefinition>()

class ShardProcess {
  readonly start: ShardStart
  readonly worker: Worker
  readonly exited: Promise<number>
  readonly port: Promise<number>
  crash: Error | undefined
  readonly #answers = new Map<number, (message: Extract<FromShard, { type: 'answer' }>) => void>()
  #nextId = 1

  constructor(index: number) {
    this.start = {
      nodeName: 'node-0',
      index,
      id: `shard-${index}` as ShardId,
      host: '127.0.0.1',
      port: 0,
      limits: {
        memoryMaxBytes: 512 * 1024 * 1024,
        valueMaxBytes: 16 * 1024 * 1024,
        queuedOperationsMax: 65_536,
        messageMaxBytes: 8 * 1024 * 1024,
        sliceMaxMs: 1,
        userCodeTimeLimitMs: 250,
      },
      autoCreateMaps: true,
      callCell: createCallCell(),
      node: 'node-0' as NodeId,
      promiseCell: createPromiseCell(),
      replication: {
        minInSync: 1,
        leaseMs: 600,
        backupTimeoutMs: 1000,
        logMaxBytes: 64 * 1024 * 1024,
        copyBytesPerSecond: 64 * 1024 * 1024,
        sessionTtlMs: 60_000,
      },
    }
    this.worker = new Worker(new URL('../../src/shard/shard-worker.ts', import.meta.url), { workerData: this.start })
    const ready = Promise.withResolvers<number>()
    this.port = ready.promise
    this.exited = new Promise(resolve => this.worker.once('exit', resolve))
    this.worker.on('error', error => {
      this.crash = error
      ready.reject(error)
    })
    this.worker.on('message', (message: FromShard) => {
      if (message.type === 'ready') ready.resolve(message.port)
      else if (message.type === 'answer') this.#answers.get(message.id)?.(message)
      else if (message.type === 'ensureMap') {
        const { name, keySpace, keyCodec } = message.ask
        let value = definitions.get(name)
        value ??= {
          id: (definitions.size + 1) as MapId,
          name,
          keySpace,
          keyCodec,
          ttlMs: 0,
          maxIdleMs: 0,
          maxBytes: 0,
          eviction: 'none',
          createdAtMs: 0,
        }
        definitions.set(name, value)
        this.tell({ type: 'reply', id: message.id, value })
      }
    })
  }

  tell(message: ToShard): void {
    this.worker.postMessage(message)
  }

  async ask<R extends ShardRequest>(request: R): Promise<ShardAnswers[R['kind']]> {
    const id = this.#nextId
    this.#nextId += 1
    const message = await new Promise<Extract<FromShard, { type: 'answer' }>>(resolve => {
      this.#answers.set(id, resolve)
      this.tell({ type: 'request', id, request })
    })
    if (message.failure !== undefined) throw Object.assign(new Error(message.failure.message), message.failure)
    return message.value as ShardAnswers[R['kind']]
  }
}

let shards: [ShardProcess, ShardProcess]
let data: GrpcClient<typeof DataDefinition>
let watchdog: Watchdog

beforeAll(async () => {
  shards = [new ShardProcess(0), new ShardProcess(1)]
  const ports = await Promise.all(shards.map(shard => shard.port))
  const { port1, port2 } = new MessageChannel()
  shards[0].worker.postMessage({ type: 'command', command: { kind: 'threadLink', peer: shards[1].start.id, port: port1 } }, [port1])
  shards[1].worker.postMessage({ type: 'command', command: { kind: 'threadLink', peer: shards[0].start.id, port: port2 } }, [port2])
  const members = [
    {
      name: 'node-0',
      id: 'node-0' as NodeId,
      pid: 1,
      status: 'alive' as const,
      zone: '',
      version: '0',
      address: '',
      http: '',
      shards: shards.map((shard, i) => ({ id: shard.start.id, address: `127.0.0.1:${ports[i]}` })),
      startedAtMs: 0,
    },
  ]
  const partitions = Array.from({ length: partitionCount }, (_, partition) => {
    const primary = { node: 'node-0' as NodeId, shard: (shards[partition % 2] as ShardProcess).start.id }
    return { epoch: 1 as Epoch, primary, backups: [], inSync: [primary] }
  })
  const view = { version: 1, state: { cluster: 'test', partitionCount, leader: 'node-0', members, partitions } }
  for (const shard of shards)
    shard.tell({
      type: 'command',
      command: { kind: 'view', view, promisedUntilMs: new Float64Array(partitionCount).fill(Number.NEGATIVE_INFINITY), promiseSlots: [] },
    })
  data = createGrpcClient(DataDefinition, `127.0.0.1:${ports[0]}`)
  watchdog = new Watchdog({
    timeLimitMs: 250,
    workers: shards.map(({ worker, start: { callCell } }) => ({ worker, callCell })),
    onGivenUp: () => {},
    onTrouble: () => {},
  })
  await watchdog.start()
})

afterAll(async () => {
  watchdog.stop()
  data.close()
  await Promise.all(shards.map(shard => shard.worker.terminate()))
})

const none = { ttlMs: undefined, maxIdleMs: undefined, request: undefined }
const set = (map: string, key: string, value: unknown): Promise<unknown> =>
  data.set({ map, key: Buffer.from(key), value: encodeValue(value), ...none })
const get = async (map: string, key: string): Promise<unknown> => {
  const { found, value } = await data.get({ map, key: Buffer.from(key) })
  return found ? decodeValue(value) : undefined
}
const invoke = async (key: string, name: string, args: unknown): Promise<unknown> => {
  const { result } = await data.invoke({
    map: 'counters',
    key: Buffer.from(key),
    function: name,
    arguments: encodeValue(args),
    request: undefined,
  })
  return decodeValue(result)
}

describe('a shard worker', () => {
  test('serves keys of both shards of the node through one port', async () => {
    const keys = Array.from({ length: 40 }, (_, n) => `key-${n}`)
    await Promise.all(keys.map(key => set('m', key, { key })))
    expect(await Promise.all(keys.map(key => get('m', key)))).toEqual(keys.map(key => ({ key })))
    const [one, two] = await Promise.all(shards.map(shard => shard.ask({ kind: 'stats' })))
    expect((one?.entries ?? 0) + (two?.entries ?? 0)).toBe(40)
    expect(Math.min(one?.entries ?? 0, two?.entries ?? 0)).toBeGreaterThan(0)
  })

  test('a pipe answers a batch, large values in chunks', async () => {
    await set('m', 'large', 'x'.repeat(1_000_000))
    const connection = connectShard(`127.0.0.1:${await shards[0].port}`)
    const batches: ResultBatch[] = []
    const answered = Promise.withResolvers<void>()
    const pipe = connection.openPipe({
      onOpen() {
        const builder = new OperationBuilder()
        const key = Buffer.from('large')
        builder.append(OperationKind.GET, 0, key, 0, key.length, undefined, 0, 0, undefined)
        pipe.write({
          ...builder.take(7, 1n),
          wireVersion: 1,
          gateway: true,
          maps: [{ slot: 0, name: 'm', keySpace: 'm', keyCodec: 'string' }],
        })
      },
      onDrain() {},
      onResults(batch) {
        batches.push(batch)
        if (batch.chunk === undefined) answered.resolve()
      },
      onDown: answered.reject,
    })
    await answered.promise
    expect(batches.filter(batch => batch.chunk !== undefined).length).toBeGreaterThan(2)
    expect(batches.at(-1)).toMatchObject({ firstId: 7, count: 1 })
    pipe.close()
    connection.close()
  })

  test('entry functions run, throw and loop; the shard lives on with its data', { timeout: 30_000 }, async () => {
    const bundle = await bundleFile(new URL('./fixtures/shard-functions.ts', import.meta.url).pathname)
    for (const shard of shards) await shard.ask({ kind: 'loadFunctions', file: 'shard-functions.ts', bundle })
    expect(await invoke('a', 'add', 2)).toBe(2)
    expect(await invoke('a', 'add', 3)).toBe(5)
    await expect(invoke('a', 'fail', null)).rejects.toMatchObject({ code: 'FUNCTION_FAILED' })
    const during = [invoke('a', 'loop', null), invoke('b', 'loopInGetter', null)]
    const outcomes = await Promise.allSettled(during)
    for (const outcome of outcomes) expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'FUNCTION_FAILED' } })
    expect(await get('counters', 'a')).toBe(5)
    // Values are encoded as before, although one encoding was cut off in the middle.
    const value = { list: [1, 2, 3], text: 'x'.repeat(1000), nested: { at: new Date(0) } }
    await set('counters', 'c', value)
    expect(await get('counters', 'c')).toEqual(value)
    expect(await invoke('a', 'add', 1)).toBe(6)
  })

  test('system requests reach both shards', async () => {
    for (let n = 0; n < 8; n += 1) {
      const value = Buffer.alloc(300_000, n)
      await shards[0].ask({ kind: 'systemSet', map: '__bundles', key: `chunk/${n}`, value })
      const answer = await shards[1].ask({ kind: 'systemGet', map: '__bundles', key: `chunk/${n}` })
      expect(Buffer.compare(answer.value ?? Buffer.alloc(0), value)).toBe(0)
    }
  })

  test('stops when told, with what is under way answered first', { timeout: 30_000 }, async () => {
    const last = invoke('a', 'add', 1)
    expect(await last).toBe(7)
    await Promise.all(shards.map(shard => shard.ask({ kind: 'stop', graceMs: 1000 })))
    await expect(get('m', 'key-1')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(shards.map(shard => shard.crash)).toEqual([undefined, undefined])
  })
})
