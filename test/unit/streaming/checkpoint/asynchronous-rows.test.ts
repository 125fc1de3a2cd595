import { describe, expect, it } from 'vitest'
import { type CheckpointRules, everyCheckpointRule } from '../../../../src/streaming/checkpoint/rules.ts'
import { LookupOperator } from '../../../../src/streaming/operators/asynchronous/lookup.ts'
import { Batch } from '../../../../src/streaming/operators/batch.ts'
import { Unit } from '../../../../src/streaming/operators/unit.ts'
import type { Outside } from '../../../../src/streaming/ports.ts'
import { MemoryState } from '../../../../src/streaming/state/memory-state.ts'
import { StageState } from '../../../../src/streaming/state/stage-state.ts'
import { decodeValue, encodeValue } from '../../../../src/wire/value-codec.ts'

const codec = { encode: encodeValue, decode: decodeValue }
const none = { attempt: 0, n: 0 }
const limits = { inFlight: 10, ordered: true, timeoutMs: 1000, retries: 0 }

/** Rows that wait for answers which never come; what a barrier records of them. */
function recordsAtBarrier(rules: CheckpointRules = everyCheckpointRule): number {
  const state = new MemoryState(4)
  for (let partition = 0; partition < 4; partition += 1) state.begin(partition, 1, none)
  const saved = new StageState({ stage: 's', codec, store: state.store(1, none), partitions: [0, 1, 2, 3], rules })
  const outside: Outside = {
    wake: () => undefined,
    log: () => undefined,
    lookup: () => undefined,
    fetch: () => () => undefined,
    run: () => undefined,
    sinkConnector: () => {
      throw new Error('no sinks')
    },
  }
  const map = { map: 'm', keySpace: 'm', keyCodec: 'string' } as const
  const operator = new LookupOperator(
    0,
    new Unit(1, 'fail', 'fail'),
    { limits, isKeyed: false, outside, saved, attempt: 1, task: 'shard', partitionCount: 4 },
    { map, key: row => row, join: row => row },
  )
  const batch = new Batch()
  batch.push('a', 0, -1, undefined, -1)
  batch.push('b', 0, -1, undefined, -1)
  operator.accept(batch)
  operator.commit()
  operator.passBarrier(1)
  return operator.takeRecords().length
}

describe('rows of asynchronous calls', () => {
  it('are part of the checkpoint that finds them under way', () => {
    expect(recordsAtBarrier()).toBe(2)
  })

  it('are lost without that rule', () => {
    expect(recordsAtBarrier({ ...everyCheckpointRule, asynchronousRowsRecorded: false })).toBe(0)
  })
})
