import { expect, it } from 'vitest'
import { BarrierFlow } from '../../../../src/streaming/checkpoint/barrier-flow.ts'
import type { HomeRecord } from '../../../../src/streaming/checkpoint/home.ts'
import { everyCheckpointRule } from '../../../../src/streaming/checkpoint/rules.ts'
import { TaskCheckpoint } from '../../../../src/streaming/checkpoint/task-checkpoint.ts'
import { defaultExchangeLimits } from '../../../../src/streaming/exchange/edge.ts'
import { FrameWriter, readFrame } from '../../../../src/streaming/exchange/frame.ts'
import { MemoryState } from '../../../../src/streaming/state/memory-state.ts'
import { present } from '../../../../src/base/assert.ts'
import { decodeValue, encodeValue } from '../../../../src/wire/value-codec.ts'

const codec = { encode: encodeValue, decode: decodeValue }
const none = { attempt: 0, n: 0 }

/** Two shards with a partition each; the first has these records for the other's. */
function pair(records: readonly HomeRecord[]) {
  const state = new MemoryState(2)
  for (const partition of [0, 1]) state.begin(partition, 1, none)
  const frames: Uint8Array[] = []
  const answered: number[] = []
  const shards = [0, 1].map(
    self =>
      new TaskCheckpoint({
        store: state.store(1, none),
        codec,
        rules: everyCheckpointRule,
        flow: new BarrierFlow([], [], 'exactly-once'),
        self,
        owners: [0, 1],
        shards: 2,
        writer: new FrameWriter('job', 1, codec),
        send: (to, bytes) => {
          if (to === 1) frames.push(bytes)
        },
        snapshotSources: () => (self === 0 ? records : []),
        stageAtWork: () => undefined,
        sinkRecords: () => [],
        written: () => ({ bytes: 0, records: 0 }),
        counts: () => [],
        answer: () => answered.push(self),
        fail: error => {
          throw error
        },
      }),
  )
  return { sender: present(shards[0], 'a shard'), receiver: present(shards[1], 'another'), frames, answered, state }
}

const recordsOf = (count: number, bytes: number): HomeRecord[] =>
  Array.from({ length: count }, (_, i) => ({ partition: 1, stage: 'rows', key: Uint8Array.of(0, i), value: new Uint8Array(bytes).fill(i) }))

it('sends records to other shards in frames that links can take, be the records long or many', () => {
  const { sender, receiver, frames, answered, state } = pair(recordsOf(120, 100_000))
  for (const shard of [sender, receiver]) {
    shard.request(1)
    shard.begin(0, false)
    shard.advance(0)
  }
  expect(frames.length).toBeGreaterThan(4)
  for (const bytes of frames) {
    expect(bytes.length).toBeLessThan(defaultExchangeLimits.frameMaxBytes)
    expect(receiver.arrive(0, present(readFrame(bytes), 'a frame'))).toBe(undefined)
  }
  receiver.advance(0)
  expect(answered).toContain(1)
  const found = state.store(1, none).scan(1, 'rows', Uint8Array.of(0), Uint8Array.of(1), 200)
  expect(found.map(({ value }) => value[0])).toEqual(Array.from({ length: 120 }, (_, i) => i))
})

it('refuses a record that no frame can hold, and names its stage', () => {
  const { sender } = pair(recordsOf(1, 3 * 1024 * 1024))
  sender.request(1)
  sender.begin(0, false)
  expect(() => sender.advance(0)).toThrow(/stage "rows".* 3145730 bytes, the limit is 2883584/)
})
