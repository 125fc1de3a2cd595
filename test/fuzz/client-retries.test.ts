/**
 * A client against a model of a cluster that refuses, forgets, moves partitions, cuts streams and works off what came on a cut stream
 * long after. Whatever happens: a write is done at most once, one that succeeded exactly once, one that failed otherwise than with
 * OUTCOME_UNKNOWN never, and writes to a key in the order in which they were issued.
 */
import * as fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { NearstateError } from '../../src/base/errors.ts'
import { GridMap } from '../../src/client/grid-map.ts'
import { Router } from '../../src/client/router.ts'
import { defineKey } from '../../src/keys/key-space.ts'
import { partitionOfKey } from '../../src/keys/partition-of.ts'
import type { PipeStreamListener } from '../../src/transport/pipe-stream.ts'
import { type OperationBatch, OperationKind } from '../../src/wire/generated/nearstate/v1/data.ts'
import { OperationReader } from '../../src/wire/operations.ts'
import { ResultWriter } from '../../src/wire/results.ts'
import { decodeValue } from '../../src/wire/value-codec.ts'
import { describeFake } from '../unit/client/fake-cluster.ts'

const Key = defineKey('key', 'string')
const partitionCount = 4
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

/** mulberry32 */
function randomOf(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

interface ModelSession {
  readonly done: Set<number>
  trimmedTo: number
}

/** What all replicas of all partitions agree on. */
class Model {
  readonly sessions = new Map<string, ModelSession>()
  readonly executed: { readonly key: string; readonly value: number }[] = []
  owners = [0, 1, 0, 1]
  version = 1n
  #opened = 0

  open(): Buffer {
    this.#opened += 1
    const ticket = Buffer.alloc(16)
    ticket.writeUInt32BE(this.#opened, 12)
    this.sessions.set(ticket.toString('hex'), { done: new Set(), trimmedTo: 0 })
    return ticket
  }
}

/** One stream at its shard. What came on it is worked off in order, also after the client has lost it. */
class ModelStream {
  readonly #model: Model
  readonly #shard: number
  readonly #listener: PipeStreamListener
  readonly #queue: { readonly reader: OperationReader; readonly index: number }[] = []
  readonly #tickets: string[] = []
  /**
   * By partition, the lowest and the highest number refused since one was taken. A write is refused as well while one before it may be
   * among them that the client has not given up: it will send both again, in order.
   */
  readonly #refused: ({ readonly first: number; readonly last: number } | undefined)[] = []
  isCut = false

  constructor(model: Model, shard: number, listener: PipeStreamListener) {
    this.#model = model
    this.#shard = shard
    this.#listener = listener
    queueMicrotask(() => {
      if (!this.isCut) listener.onOpen()
    })
  }

  get hasWork(): boolean {
    return this.#queue.length > 0
  }

  take(batch: OperationBatch): void {
    if (this.isCut) return
    const reader = new OperationReader(batch)
    for (let index = 0; index < reader.count; index += 1) this.#queue.push({ reader, index })
  }

  /** `refuse`: says NOT_NOW to the operation. */
  work(count: number, refuse: () => boolean, isLast = false): void {
    const results = new ResultWriter()
    for (const { reader, index } of this.#queue.splice(0, count)) this.#answer(results, reader, index, refuse)
    const batches = isLast ? results.takeLast(this.#model.version) : results.take(this.#model.version)
    for (const batch of batches) if (!this.isCut) this.#listener.onResults(batch)
    if (isLast) {
      this.#queue.length = 0
      this.isCut = true
    }
  }

  cut(): void {
    if (this.isCut) return
    this.isCut = true
    this.#listener.onDown(new NearstateError('UNAVAILABLE', 'cut'))
  }

  #answer(results: ResultWriter, reader: OperationReader, index: number, refuse: () => boolean): void {
    const id = reader.idAt(index)
    if (index === 0) for (const { partition, ticket } of reader.sessions) this.#tickets[partition] = ticket.toString('hex')
    const keyBytes = reader.keys.subarray(reader.keyBounds[index], reader.keyBounds[index + 1])
    const isOpening = reader.kindAt(index) === OperationKind.OPEN_SESSION
    const partition = isOpening
      ? (reader.optionsAt(index)?.partition as number)
      : partitionOfKey(Key.codec, keyBytes, 0, keyBytes.length, partitionCount)
    if (!reader.batch.gateway && this.#model.owners[partition] !== this.#shard) return this.#refuse(results, reader, index, partition, true)
    if (refuse()) return this.#refuse(results, reader, index, partition, false)
    if (isOpening) return results.value(id, this.#model.open(), 0, 16)
    const number = reader.numberAt(index)
    const lowest = number - reader.distanceAt(index)
    const refused = this.#refused[partition]
    if (refused !== undefined && refused.first < number && lowest <= Math.min(refused.last, number - 1))
      return this.#refuse(results, reader, index, partition, false)
    this.#refused[partition] = undefined
    const session = this.#model.sessions.get(this.#tickets[partition] ?? '')
    if (session === undefined) return results.sessionUnknown(id)
    if (session.done.has(number)) return results.ok(id)
    session.trimmedTo = Math.max(session.trimmedTo, lowest - 1)
    if (number <= session.trimmedTo) return results.error(id, new NearstateError('OUTCOME_UNKNOWN', 'forgotten'))
    expect(number).toBeLessThanOrEqual(session.trimmedTo + 1024)
    session.done.add(number)
    const value = decodeValue(reader.values, reader.valueBounds[index], reader.valueBounds[index + 1]) as number
    this.#model.executed.push({ key: keyBytes.toString(), value })
    results.ok(id)
  }

  #refuse(results: ResultWriter, reader: OperationReader, index: number, partition: number, isMoved: boolean): void {
    const number = reader.numberAt(index)
    const before = this.#refused[partition]
    if (number > 0) {
      const isNewRound = before === undefined || number <= before.first
      this.#refused[partition] = isNewRound ? { first: number, last: number } : { first: before.first, last: Math.max(before.last, number) }
    }
    if (isMoved) results.notOwner(reader.idAt(index))
    else results.notNow(reader.idAt(index))
  }
}

async function run(seed: number, routing: 'direct' | 'gateway'): Promise<void> {
  const random = randomOf(seed)
  vi.spyOn(Math, 'random').mockImplementation(() => random(1000) / 1000)
  const model = new Model()
  const streams: ModelStream[] = []
  const router = new Router({
    routing,
    limits: { inFlightMax: 1 + random(20), waitingMax: 1000, inFlightMaxBytes: 1e7 },
    connectShard: address => ({
      openPipe: listener => {
        const stream = new ModelStream(model, address === 'a:1' ? 0 : 1, listener)
        streams.push(stream)
        return {
          write: batch => {
            stream.take(batch)
            return true
          },
          close: () => {
            stream.isCut = true
          },
        }
      },
      close: () => undefined,
    }),
    onPipeUp: () => undefined,
    onPipeDown: () => undefined,
    onStale: () => undefined,
  })
  const learn = (): void => router.update(describeFake(model.version, model.owners))
  learn()
  const map = new GridMap(router, 'm', Key, undefined, 400)
  const outcomes = new Map<number, string>()
  let issued = 0
  const issue = (): void => {
    const value = issued
    issued += 1
    map.set(`k${random(6)}`, value).then(
      () => outcomes.set(value, 'OK'),
      (thrown: unknown) => outcomes.set(value, (thrown as NearstateError).code),
    )
  }
  const some = (): ModelStream | undefined => streams[random(Math.max(1, streams.length))]
  const isFlaky = random(3) === 0
  for (let step = 0; step < 120; step += 1) {
    const choice = random(20)
    if (choice < 7) for (let i = random(4); i >= 0; i -= 1) issue()
    else if (choice < 14) some()?.work(1 + random(8), () => isFlaky && random(4) === 0)
    else if (choice === 14) some()?.cut()
    else if (choice === 15) {
      const stream = some()
      if (stream?.isCut === false) stream.work(random(8), () => false, true)
    } else if (choice === 16) {
      model.owners = model.owners.map(() => random(2))
      model.version += 1n
      if (random(2) === 0) learn()
    } else if (choice === 17) learn()
    else if (choice === 18 && random(3) === 0) model.sessions.clear()
    else vi.advanceTimersByTime(5 * random(20))
    if (random(3) > 0) await turn()
  }
  // All is well from now on.
  learn()
  for (let i = 0; outcomes.size < issued; i += 1) {
    expect(i, `writes without an outcome, of ${issued}: ${issued - outcomes.size}`).toBeLessThan(500)
    for (const stream of streams) stream.work(Number.POSITIVE_INFINITY, () => false)
    vi.advanceTimersByTime(20)
    await turn()
  }
  router.close()
  check(model, outcomes)
}

function check(model: Model, outcomes: ReadonlyMap<number, string>): void {
  const times = new Map<number, number>()
  for (const { value } of model.executed) times.set(value, (times.get(value) ?? 0) + 1)
  for (const [value, outcome] of outcomes) {
    const count = times.get(value) ?? 0
    expect(count, `write ${value}, ${outcome}`).toBeLessThanOrEqual(1)
    if (outcome === 'OK') expect(count, `write ${value}, ${outcome}`).toBe(1)
    else if (outcome !== 'OUTCOME_UNKNOWN') expect(count, `write ${value}, ${outcome}`).toBe(0)
  }
  const last = new Map<string, number>()
  for (const { key, value } of model.executed) {
    expect(value, `order of writes to ${key}`).toBeGreaterThan(last.get(key) ?? -1)
    last.set(key, value)
  }
}

test('writes of a client are done once and in order, whatever becomes of shards and streams', async () => {
  await fc.assert(fc.asyncProperty(fc.integer(), fc.constantFrom('direct' as const, 'direct' as const, 'gateway' as const), run), {
    numRuns: 150,
  })
})
