import { describe, expect, test } from 'vitest'
import { decodeOperationBatch, decodeResultBatch } from '../../../src/wire/batch-codec.ts'
import { DataDefinition, OperationBatch, ResultBatch } from '../../../src/wire/generated/nearstate/v1/data.ts'
import { ControlDefinition, PeerDefinition } from '../../../src/wire/generated/nearstate/v1/peer.ts'
import { decodeReplication } from '../../../src/wire/replication-codec.ts'
import { messages, replication } from './first-version-bytes.ts'

/** Spans of bytes as the bytes that they are. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value)
  if (value instanceof Map) return new Map([...value].map(([key, field]) => [key, plain(field)]))
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

describe('what the first wire version wrote is read', () => {
  test.each(messages)('%s', (_, { codec, bytes, value }) => {
    expect(codec.decode(bytes)).toMatchObject(value)
    if (codec === OperationBatch) expect(decodeOperationBatch(bytes)).toMatchObject(value)
    if (codec === ResultBatch) expect(decodeResultBatch(bytes)).toMatchObject(value)
  })

  test.each(replication)('replication: %s', (_, { bytes, value }) => {
    const decoded = decodeReplication(bytes)
    expect(decoded).toHaveLength(1)
    expect(plain(decoded[0])).toMatchObject(value)
  })

  test('of every message of the services between clients, shards and nodes', () => {
    const samples = new Set<unknown>(messages.map(([, { codec }]) => codec))
    for (const service of [DataDefinition, PeerDefinition, ControlDefinition]) {
      for (const method of Object.values(service.methods)) {
        expect(samples.has(method.requestType), `request of ${service.name}.${method.name}`).toBe(true)
        expect(samples.has(method.responseType), `response of ${service.name}.${method.name}`).toBe(true)
      }
    }
  })
})
