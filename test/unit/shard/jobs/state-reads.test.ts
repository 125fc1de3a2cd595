import { describe, expect, test } from 'vitest'
import { beginAttempt, type JobState } from '../../../../src/grid/job-state.ts'
import { type JobStateAnswer, type OpenPoint, type ReadJobState, readState } from '../../../../src/shard/jobs/state-reads.ts'
import { applyEffect } from '../../../../src/storage/effect.ts'
import { MemoryBudget } from '../../../../src/storage/memory-budget.ts'
import { PartitionStore } from '../../../../src/storage/partition-store.ts'
import { recordKey } from '../../../../src/streaming/state/record-key.ts'
import { ScanPage } from '../../../../src/wire/generated/nearstate/v1/data.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const nowhere = new Uint8Array(0)

class World {
  readonly budget = new MemoryBudget(1 << 28)
  readonly store = new PartitionStore(this.budget, 1)

  begin(attempt: number, restore = { attempt: 0, n: 0 }): JobState {
    const { store, budget } = this
    return beginAttempt({ job: 'job', partition: 3, attempt, store, budget, append: effect => applyEffect(store, effect) }, restore)
  }

  read(open: OpenPoint | undefined, question: Partial<ReadJobState> = {}): JobStateAnswer {
    const common = { job: 'job', stage: 'sums', partition: 3, cursor: nowhere, limit: 0, keysOnly: false, live: false }
    return readState(this.store, open, { ...common, ...question })
  }

  /** The value of key `a`. */
  valueOf(open: OpenPoint | undefined, question: Partial<ReadJobState> = {}): string | undefined {
    const { isKnown, value } = this.read(open, { key: bytes('a'), ...question })
    return isKnown ? new TextDecoder().decode(value) : undefined
  }
}

function write(state: JobState, n: number, value: string, key = 'a'): void {
  state.write('sums', recordKey(0, bytes(key)), bytes(value), n)
}

function commit(state: JobState, n: number): void {
  state.writeBarrier(n, bytes('barrier'))
  while (!state.isSwept) state.sweep(100)
  state.committed(n)
}

describe('a read of state as of the last checkpoint', () => {
  test('is that of the attempt that stands open here, whatever it has written since', () => {
    const world = new World()
    const state = world.begin(1)
    expect(world.read({ attempt: 1, point: { attempt: 0, n: 0 } }, { key: bytes('a') })).toMatchObject({ isKnown: true, attempt: 1 })
    write(state, 1, 'one')
    commit(state, 1)
    write(state, 2, 'two')
    expect(world.valueOf({ attempt: 1, point: { attempt: 1, n: 1 } })).toBe('one')
  })

  test('asks for the point where no attempt stands open, and holds it only as long as no later one has begun', () => {
    const world = new World()
    const state = world.begin(1)
    write(state, 1, 'one')
    commit(state, 1)
    write(state, 2, 'lost')
    const settled = { lastAttempt: 1, point: { attempt: 1, n: 1 } }
    expect(world.read(undefined).isKnown).toBe(false)
    expect(world.valueOf(undefined, { settled })).toBe('one')
    const next = world.begin(2, settled.point)
    expect(world.read(undefined, { settled }).isKnown).toBe(false)
    expect(world.valueOf(undefined, { settled: { ...settled, lastAttempt: 2 } })).toBe('one')
    write(next, 1, 'later')
    commit(next, 1)
    expect(world.valueOf({ attempt: 2, point: { attempt: 2, n: 1 } }, { settled })).toBe('later')
  })

  test('does not take the point of an attempt that another one has replaced in the partition', () => {
    const world = new World()
    world.begin(1)
    world.begin(2)
    expect(world.read({ attempt: 1, point: { attempt: 1, n: 7 } }).isKnown).toBe(false)
  })

  test('does not say that nothing is there when the state has gone with its job', () => {
    expect(new World().read(undefined, { settled: { lastAttempt: 3, point: { attempt: 3, n: 2 } } }).isKnown).toBe(false)
  })

  test('goes page by page, keys alone if wanted, and passes over other tables of the stage', () => {
    const world = new World()
    const state = world.begin(1)
    const keys = Array.from({ length: 25 }, (_, i) => `k${String(i).padStart(2, '0')}`)
    for (const key of keys) write(state, 1, `value of ${key}`, key)
    state.write('sums', recordKey(1, bytes('a timer')), bytes('no value'), 1)
    commit(state, 1)
    const open = { attempt: 1, point: { attempt: 1, n: 1 } }
    const found: string[] = []
    let cursor: Uint8Array = nowhere
    do {
      const page = ScanPage.decode(world.read(open, { cursor, limit: 10, keysOnly: true }).page ?? nowhere)
      expect(page.values).toHaveLength(0)
      for (let at = 0; at < page.keys.length; at += 3) found.push(page.keys.toString('utf8', at, at + 3))
      cursor = page.cursor
    } while (cursor.length > 0)
    expect(found).toEqual(keys)
    const all = ScanPage.decode(world.read(open).page ?? nowhere)
    expect(all.valueLengths).toHaveLength(25)
    expect(all.cursor).toHaveLength(0)
  })

  test('gives long records one by one, and refuses one that no answer has room for', () => {
    const world = new World()
    const state = world.begin(1)
    for (const key of ['a', 'b', 'c']) write(state, 1, 'x'.repeat(300_000), key)
    commit(state, 1)
    const open = { attempt: 1, point: { attempt: 1, n: 1 } }
    expect(ScanPage.decode(world.read(open).page ?? nowhere).keyLengths).toHaveLength(1)
    write(state, 2, 'x'.repeat(9_000_000), 'a')
    commit(state, 2)
    expect(() => world.valueOf({ attempt: 1, point: { attempt: 1, n: 2 } })).toThrow('a record of 9000000 bytes does not fit')
  })

  test('of collected rows can stay at an older checkpoint', () => {
    const world = new World()
    const state = world.begin(1)
    for (const n of [1, 2, 3]) {
      write(state, n, `rows of ${n}`, `${n}`)
      commit(state, n)
    }
    const open = { attempt: 1, point: { attempt: 1, n: 3 } }
    const answer = world.read(open, { upTo: { attempt: 1, n: 2 } })
    expect(ScanPage.decode(answer.page ?? nowhere).keys.toString()).toBe('12')
    expect(answer.point).toEqual({ attempt: 1, n: 2 })
    expect(world.read(open, { upTo: { attempt: 1, n: 9 } }).point).toEqual({ attempt: 1, n: 3 })
  })
})
