import { describe, expect, it } from 'vitest'
import { everyCheckpointRule } from '../../../../src/streaming/checkpoint/rules.ts'
import { Batch } from '../../../../src/streaming/operators/batch.ts'
import { CollectOperator, collectedRows } from '../../../../src/streaming/operators/collect.ts'
import { TwoPhaseSinkOperator } from '../../../../src/streaming/operators/two-phase-sink.ts'
import { Unit } from '../../../../src/streaming/operators/unit.ts'
import type { SinkConnector, SinkListener } from '../../../../src/streaming/sink.ts'
import { MemoryState } from '../../../../src/streaming/state/memory-state.ts'
import { decodeValue, encodeValue } from '../../../../src/wire/value-codec.ts'

const codec = { encode: encodeValue, decode: decodeValue }
const none = { attempt: 0, n: 0 }

/** Output in memory: prepared by handle, and what is visible, in its order. */
class MemorySink implements SinkConnector {
  readonly kind = 'memory'
  readonly prepared = new Map<string, readonly unknown[]>()
  readonly visible: unknown[] = []
  ended: string[] = []

  open(_options: object, { attempt, task }: { attempt: number; task: string }, listener: SinkListener) {
    let rows: unknown[] = []
    return {
      failure: undefined,
      write: (more: readonly unknown[]) => rows.push(...more) < 100,
      prepare: (n: number) => {
        if (rows.length > 0) this.prepared.set(`${attempt}/${task}/${n}`, rows)
        listener.onPrepared(n, rows.length > 0 ? `${attempt}/${task}/${n}` : undefined)
        rows = []
      },
      close: () => undefined,
    }
  }

  commit(_options: object, handle: string, done: () => void): void {
    this.visible.push(...(this.prepared.get(handle) ?? []))
    this.prepared.delete(handle)
    done()
  }

  endOthers(_options: object, { attempt }: { attempt: number }, done: () => void): void {
    for (const handle of this.prepared.keys()) if (Number(handle.split('/')[0]) < attempt) this.prepared.delete(handle)
    done()
  }
}

const sinkOf = (sink: MemorySink, attempt: number, rules = everyCheckpointRule) =>
  new TwoPhaseSinkOperator(0, new Unit(1, 'fail', 'fail'), {
    connector: sink,
    options: {},
    task: { job: 'j', jobId: 'id', stage: 'out', attempt, task: 'shard' },
    codec,
    wake: () => undefined,
    isCheckpointed: true,
    rules,
  })

function give(operator: TwoPhaseSinkOperator | CollectOperator, ...rows: unknown[]): void {
  const batch = new Batch()
  for (const row of rows) batch.push(row, 0, -1, undefined, -1)
  operator.accept(batch)
  operator.commit()
}

/** Barrier n on a shard that has only this operator: its records are written, then the master commits or does not. */
function barrier(
  state: MemoryState,
  attempt: number,
  restore: typeof none,
  operator: TwoPhaseSinkOperator | CollectOperator,
  n: number,
): void {
  const store = state.store(attempt, restore)
  operator.passBarrier(n)
  expect(operator.isPreparing).toBe(false)
  for (const { partition, stage, key, value } of operator.takeRecords(4)) store.write(partition, stage, [{ key, value }], n)
  for (let partition = 0; partition < 4; partition += 1) store.endBarrier(partition, n, encodeValue([]), () => undefined)
}

const begin = (state: MemoryState, attempt: number, restore: typeof none): void => {
  for (let partition = 0; partition < 4; partition += 1) state.begin(partition, attempt, restore)
}

describe('a two-phase sink', () => {
  it('shows rows after the commit of their checkpoint, those of one given up with the next', () => {
    const sink = new MemorySink()
    const state = new MemoryState(4)
    begin(state, 1, none)
    const operator = sinkOf(sink, 1)
    give(operator, 'a')
    barrier(state, 1, none, operator, 1)
    give(operator, 'b')
    barrier(state, 1, none, operator, 2)
    expect(sink.visible).toEqual([])
    operator.committed(2)
    expect(sink.visible).toEqual(['a', 'b'])
    expect(operator.isCommitting).toBe(false)
  })

  it('leaves what is prepared when it stops; a new attempt commits what a checkpoint has, once, and ends the rest', () => {
    const sink = new MemorySink()
    const state = new MemoryState(4)
    begin(state, 1, none)
    const first = sinkOf(sink, 1)
    give(first, 'a')
    barrier(state, 1, none, first, 1)
    state.store(1, none).committed(1)
    give(first, 'lost')
    barrier(state, 1, none, first, 2)
    first.close()
    expect(sink.prepared.size).toBe(2)

    const restore = { attempt: 1, n: 1 }
    for (const attempt of [2, 3]) {
      begin(state, attempt, restore)
      const next = sinkOf(sink, attempt)
      next.recover(state.store(attempt, restore), [0, 1, 2, 3], error => expect(error).toBeUndefined())
      next.endOthers()
      expect(sink.visible).toEqual(['a'])
      expect(sink.prepared.size).toBe(0)
      if (attempt === 2) continue
      barrier(state, 3, restore, next, 1)
      state.store(3, restore).committed(1)
      expect([0, 1, 2, 3].flatMap(partition => [...state.valid(partition, 'out')])).toEqual([])
    }
  })

  it('is full when its writer says so', () => {
    const operator = sinkOf(new MemorySink(), 1)
    give(operator, ...Array.from({ length: 100 }, (_, i) => i))
    expect(operator.isFull).toBe(true)
    operator.onReady()
    expect(operator.isFull).toBe(false)
  })
})

describe('collect', () => {
  it('has the rows of committed checkpoints, in their order', () => {
    const state = new MemoryState(4)
    begin(state, 1, none)
    const operator = new CollectOperator(0, new Unit(1, 'fail', 'fail'), { stageName: 'rows', attempt: 1, task: 'shard', codec })
    const seen = () =>
      [0, 1, 2, 3].flatMap(partition => [...state.valid(partition, 'rows')].flatMap(record => collectedRows(record, codec)))
    give(operator, { a: 1 }, { a: 2 })
    barrier(state, 1, none, operator, 1)
    expect(seen()).toEqual([])
    state.store(1, none).committed(1)
    give(operator, ...Array.from({ length: 600 }, (_, a) => ({ a })))
    barrier(state, 1, none, operator, 2)
    expect(seen()).toEqual([{ a: 1 }, { a: 2 }])
    state.store(1, none).committed(2)
    expect(seen()).toEqual([{ a: 1 }, { a: 2 }, ...Array.from({ length: 600 }, (_, a) => ({ a }))])
  })
})
