import { expect, test } from 'vitest'
import type { StateStore } from '../../../../src/streaming/ports.ts'
import { StageState } from '../../../../src/streaming/state/stage-state.ts'
import { WriteQueue } from '../../../../src/streaming/state/write-queue.ts'
import { decodeValue, encodeValue } from '../../../../src/wire/value-codec.ts'

interface Entry {
  readonly partition: number
  readonly key: number
  mark: number
}

function rig(): {
  readonly state: StageState
  readonly queue: WriteQueue<Entry>
  readonly entries: readonly Entry[]
  /** `partition: keys` of each write. */
  readonly writes: string[]
} {
  const writes: string[] = []
  const nothing = (): undefined => undefined
  const store: StateStore = {
    isFresh: true,
    read: nothing,
    scan: () => [],
    restored: nothing,
    write: (partition, _stage, changes) => void writes.push(`${partition}: ${changes.map(({ key }) => key[0]).join(' ')}`),
    endBarrier: nothing,
    committed: nothing,
  }
  const codec = { encode: encodeValue, decode: (bytes: Uint8Array) => decodeValue(bytes, 0, bytes.length) }
  const state = new StageState({ stage: 'count', codec, store, partitions: [0, 1, 2] })
  const queue = new WriteQueue<Entry>(state, {
    partitionOf: ({ partition }) => partition,
    markOf: ({ mark }) => mark,
    setMark: (entry, interval) => void (entry.mark = interval),
    layDown: ({ partition, key }) => state.lay(partition, Uint8Array.of(key), Uint8Array.of(1)),
  })
  return { state, queue, entries: Array.from({ length: 9 }, (_, key) => ({ partition: key % 3, key, mark: 0 })), writes }
}

test('what keys of a partition have to write comes together, whatever the order in which they changed', () => {
  const { state, queue, entries, writes } = rig()
  for (const entry of entries) queue.mark(entry)
  state.passBarrier(1)
  expect(state.encodeSome(4)).toBe(true)
  state.writeLaidDown()
  expect(writes.splice(0)).toEqual(['0: 0 3 6', '1: 1'])
  while (state.encodeSome(4));
  state.writeLaidDown()
  expect(writes).toEqual(['1: 4 7', '2: 2 5 8'])
  expect(state.recordsWritten).toBe(9)
  expect(state.bytesWritten).toBe(18)
})

test('what a barrier left behind is written with the next one, and what is about to change again before that', () => {
  const { state, queue, entries, writes } = rig()
  for (const entry of entries) queue.mark(entry)
  state.passBarrier(1)
  state.encodeSome(4)
  state.writeLaidDown()
  writes.splice(0)
  for (const entry of entries.slice(0, 3)) queue.mark(entry)
  state.passBarrier(2)
  while (state.encodeSome(100));
  state.writeLaidDown()
  expect(writes.sort()).toEqual(['0: 0', '1: 1 4 7', '2: 2 2 5 8'])
})
