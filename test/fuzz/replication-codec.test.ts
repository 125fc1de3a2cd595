import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { NearstateError } from '../../src/base/errors.ts'
import type { Epoch, MapId, NodeId, PartitionId, ShardId } from '../../src/base/ids.ts'
import type { PartitionRecord } from '../../src/partitioning/partition-table.ts'
import type { LogEntry, ReplicationMessage } from '../../src/replication/messages.ts'
import type { Effect, PutEffect } from '../../src/storage/effect.ts'
import type { ImageChunk } from '../../src/storage/image.ts'
import { ReplicationBatch } from '../../src/wire/generated/nearstate/v1/peer.ts'
import { decodeReplication, encodeReplication } from '../../src/wire/replication-codec.ts'

const whole = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.maxSafeNat())
/** May be -1. Its successor must be whole too. */
const position = fc.oneof(fc.integer({ min: -1, max: 300 }), fc.integer({ min: -1, max: 2 ** 52 }))
const moment = fc.oneof(
  fc.constant(0),
  fc.constantFrom(1, 1.7e12),
  fc.double({ noNaN: true }).map(value => value + 0),
)
const bytes = fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ maxLength: 300 }))
const map = whole.map(id => id as MapId)
const shard = fc.constantFrom('shard-a', 'shard-b', '6f1e').map(id => id as ShardId)
const node = fc.constantFrom('node-a', 'nœud', '').map(id => id as NodeId)
const replica = fc.record({ node, shard })
const epoch = fc.oneof(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 2 ** 52 })).map(value => value as Epoch)
const name = fc.record({ epoch, position })

/** A key somewhere within its buffer, as effects of a batch have it. */
const spans = (count: number): fc.Arbitrary<{ bytes: Uint8Array; bounds: number[] }> =>
  fc.tuple(bytes, fc.array(fc.nat(), { minLength: 2 * count, maxLength: 2 * count })).map(([all, cuts]) => ({
    bytes: all,
    bounds: cuts.map(cut => cut % (all.length + 1)).sort((a, b) => a - b),
  }))

const put: fc.Arbitrary<PutEffect> = fc
  .tuple(map, spans(2), moment, moment, moment)
  .map(([id, { bytes: all, bounds }, expiresAtMs, maxIdleMs, wallTimeMs]) => ({
    kind: 'put',
    map: id,
    key: all,
    keyStart: bounds[0] as number,
    keyEnd: bounds[1] as number,
    value: all,
    valueStart: bounds[2] as number,
    valueEnd: bounds[3] as number,
    expiresAtMs,
    maxIdleMs,
    wallTimeMs,
  }))
const openMap = fc.record({
  kind: fc.constant('openMap' as const),
  map,
  limits: fc.record({ maxBytes: fc.oneof(whole, fc.double({ noNaN: true })), eviction: fc.constantFrom('none', 'lru', 'lfu') }),
})
const putRecord = fc.record({ kind: fc.constant('putRecord' as const), space: whole, key: bytes, value: bytes })
const keyed = fc.tuple(map, spans(1)).map(([id, { bytes: key, bounds }]) => ({
  map: id,
  key,
  keyStart: bounds[0] as number,
  keyEnd: bounds[1] as number,
}))

const effect: fc.Arbitrary<Effect> = fc.oneof(
  put,
  openMap,
  putRecord,
  fc.tuple(keyed, fc.constantFrom('deleted', 'expired', 'evicted')).map(([key, reason]) => ({ kind: 'remove', ...key, reason }) as const),
  fc
    .tuple(keyed, moment, moment, moment)
    .map(([key, expiresAtMs, maxIdleMs, wallTimeMs]) => ({ kind: 'expire', ...key, expiresAtMs, maxIdleMs, wallTimeMs }) as const),
  fc.record({ kind: fc.constant('clear' as const), map }),
  fc.record({ kind: fc.constant('dropMap' as const), map }),
  fc.record({ kind: fc.constant('removeRecord' as const), space: whole, key: bytes }),
  fc.record({ kind: fc.constant('openSession' as const), epoch: whole }),
  fc.record({
    kind: fc.constant('recordResult' as const),
    ticketEpoch: fc.constantFrom(1, 2),
    ticketPosition: fc.oneof(fc.constantFrom(7, 8), whole),
    number: fc.oneof(fc.integer({ min: 0, max: 5 }), whole),
    result: bytes,
    trimTo: whole,
  }),
  fc.record({ kind: fc.constant('closeSession' as const), ticketEpoch: whole, ticketPosition: whole }),
  fc.constant({ kind: 'mark' } as const),
)

const imageEffect: fc.Arbitrary<ImageChunk['effects'][number]> = fc.oneof(
  openMap,
  putRecord,
  fc.tuple(put, whole).map(([effectOf, version]) => ({ kind: 'restore', put: effectOf, version }) as const),
  fc
    .record({
      epoch: whole,
      position: whole,
      trimmedTo: whole,
      results: fc.array(fc.tuple(whole, fc.record({ result: bytes, position: whole })), { maxLength: 4 }),
    })
    .map(session => ({ kind: 'restoreSession', session: { ...session, results: new Map(session.results) } }) as const),
)

const cursor = fc.oneof(
  fc.record({ kind: fc.constant('entries' as const), map: fc.oneof(whole, fc.constant(Number.NEGATIVE_INFINITY)), place: whole }),
  fc.record({ kind: fc.constant('records' as const), space: fc.oneof(whole, fc.constant(Number.NEGATIVE_INFINITY)), from: bytes }),
  fc.record({ kind: fc.constant('sessions' as const), from: fc.oneof(whole, fc.constant(Number.NEGATIVE_INFINITY)) }),
)

const row: fc.Arbitrary<PartitionRecord> = fc.record(
  {
    epoch,
    primary: fc.option(replica, { nil: undefined }),
    backups: fc.array(replica, { maxLength: 3 }),
    inSync: fc.array(replica, { maxLength: 3 }),
    handedOver: fc.boolean(),
    givenUp: whole,
  },
  { requiredKeys: ['epoch', 'primary', 'backups', 'inSync'] },
)

const header = { partition: whole.map(id => id as PartitionId), epoch, from: shard, to: shard }

/** Entries follow `previous` without a gap. */
const append: fc.Arbitrary<ReplicationMessage> = fc
  .tuple(
    fc.record(
      {
        kind: fc.constant('append' as const),
        ...header,
        record: fc.record({ version: whole, row }),
        previous: name,
        committed: position,
        floor: position,
        serving: fc.boolean(),
        sentAtMs: moment,
      },
      { requiredKeys: ['kind', 'partition', 'epoch', 'from', 'to', 'previous', 'committed', 'floor', 'serving', 'sentAtMs'] },
    ),
    fc.array(fc.tuple(epoch, fc.array(effect, { minLength: 1, maxLength: 5 })), { maxLength: 5 }),
  )
  .map(([message, groups]) => {
    let at = message.previous.position
    const entries: LogEntry[] = groups.map(([entryEpoch, effects]) => {
      at += effects.length
      return { epoch: entryEpoch, position: at, effects }
    })
    return { ...message, entries }
  })

const message: fc.Arbitrary<ReplicationMessage> = fc.oneof(
  { weight: 4, arbitrary: append },
  fc.record({ kind: fc.constant('appended' as const), ...header, position, applied: position, sentAtMs: moment }),
  fc.record({
    kind: fc.constant('hello' as const),
    ...header,
    holds: fc.option(name, { nil: undefined }),
    givenUp: whole,
    follows: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('served' as const), ...header }),
  fc.record({
    kind: fc.constant('chunk' as const),
    ...header,
    snapshot: whole,
    index: whole,
    chunk: fc.record({
      position,
      first: fc.boolean(),
      effects: fc.array(imageEffect, { maxLength: 5 }),
      cursor: fc.option(cursor, { nil: undefined }),
    }),
    start: name,
  }),
  fc.record({ kind: fc.constant('chunkTaken' as const), ...header, snapshot: whole, index: whole }),
)

/** With every span of bytes cut out, so that where it lies does not matter. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  if (value instanceof Map) return [...value].map(plain)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  const fields = { ...value } as Record<string, unknown>
  for (const part of ['key', 'value']) {
    const start = fields[`${part}Start`]
    if (typeof start !== 'number') continue
    fields[part] = (fields[part] as Uint8Array).subarray(start, fields[`${part}End`] as number)
    delete fields[`${part}Start`]
    delete fields[`${part}End`]
  }
  return Object.fromEntries(Object.entries(fields).map(([key, field]) => [key, plain(field)]))
}

describe('what replicas say to each other', () => {
  test('arrives as it was sent', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 6 }), messages => {
        expect(plain(decodeReplication(new Uint8Array(encodeReplication(messages))))).toEqual(plain(messages))
      }),
      { numRuns: 500 },
    )
  })

  test('holds on to nothing of the frame that it came in', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 4 }), messages => {
        const frame = new Uint8Array(encodeReplication(messages))
        const decoded = decodeReplication(frame)
        frame.fill(0xee)
        expect(plain(decoded)).toEqual(plain(messages))
      }),
      { numRuns: 100 },
    )
  })
})

describe('hostile bytes are refused, never believed', () => {
  const readable = (frame: Uint8Array): void => {
    try {
      decodeReplication(frame)
    } catch (thrown) {
      if (!(thrown instanceof NearstateError)) throw thrown
      expect(thrown.code).toBe('INVALID_ARGUMENT')
    }
  }

  test('random ones', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.uint8Array({ maxLength: 60 }), (frame, messages) => {
        readable(frame)
        const incarnations = ['a', 'b']
        readable(ReplicationBatch.encode({ incarnations, messages: Buffer.from(messages) }).finish())
        // A head that is right, so that what follows is reached.
        const head = [1 + ((messages[0] ?? 0) % 6), 0, 1, 0, 1]
        readable(ReplicationBatch.encode({ incarnations, messages: Buffer.from([...head, ...messages]) }).finish())
      }),
      { numRuns: 3000 },
    )
  })

  test('good ones that were cut or changed', () => {
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 3 }), fc.nat(), fc.nat(255), (messages, at, byte) => {
        const frame = new Uint8Array(encodeReplication(messages))
        readable(frame.slice(0, at % frame.length))
        frame[at % frame.length] = byte
        readable(frame)
      }),
      { numRuns: 1000 },
    )
  })

  test('a count of more than there are bytes', () => {
    const many = [0xff, 0xff, 0xff, 0xff, 0x0f]
    const head = [1, 0, 1, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    const frame = { incarnations: ['a', 'b'], messages: Buffer.from([...head, ...many, 1, 0]) }
    expect(() => decodeReplication(ReplicationBatch.encode(frame).finish())).toThrow(/Cannot read/)
  })
})
