import { describe, expect, test } from 'vitest'
import { SavepointCopy, SavepointImport, savepointJob } from '../../../src/grid/job-savepoint.ts'
import { beginAttempt, dropJobState, type JobState } from '../../../src/grid/job-state.ts'
import { applyEffect, copyEffect, type Effect } from '../../../src/storage/effect.ts'
import { KeptBytes } from '../../../src/storage/kept-bytes.ts'
import { MemoryBudget } from '../../../src/storage/memory-budget.ts'
import { PartitionStore } from '../../../src/storage/partition-store.ts'
import { type Random, randomInteger, seededRandom } from '../../../src/base/random.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (value: Uint8Array | undefined): string | undefined => (value === undefined ? undefined : new TextDecoder().decode(value))
const start = new Uint8Array(0)
const end = Uint8Array.of(255)
const partition = 3

class Partition {
  readonly budget: MemoryBudget
  readonly store: PartitionStore
  readonly #kept = new KeptBytes()

  constructor(limitBytes = 1 << 26) {
    this.budget = new MemoryBudget(limitBytes)
    this.store = new PartitionStore(this.budget, 1)
  }

  readonly append = (effect: Effect): void => applyEffect(this.store, copyEffect(effect, this.#kept))

  begin(job: string, attempt: number, restore = { attempt: 0, n: 0 }): JobState {
    return beginAttempt({ job, attempt, ...this.parts() }, restore)
  }

  copy(state: JobState, n: number, id = 'id'): SavepointCopy {
    return new SavepointCopy({ state, n, id, ...this.parts() })
  }

  importer(job: string, attempt: number, without: readonly string[] = []): SavepointImport {
    return new SavepointImport({ job, attempt, id: 'id', without: new Set(without), ...this.parts() })
  }

  /** The whole savepoint, as checkpoint 1 of the attempt. */
  import(job: string, attempt: number, without: readonly string[] = []): void {
    const copy = this.importer(job, attempt, without)
    while (!copy.clear(2));
    copy.begin()
    for (let read = copy.next(2); read !== undefined; read = copy.next(2)) for (const record of read.records) copy.put(read.stage, record)
    copy.end(barrier => barrier)
  }

  drop(limit: number): boolean {
    return dropJobState(this.store, savepointJob('id'), 1, limit, this.append)
  }

  parts(): { partition: number; store: PartitionStore; budget: MemoryBudget; append: (effect: Effect) => void } {
    const { store, budget, append } = this
    return { partition, store, budget, append }
  }
}

function checkpoint(state: JobState, n: number): void {
  state.writeBarrier(n, bytes(`barrier ${n}`))
  while (!state.isSwept) state.sweep(9)
  state.committed(n)
}

function finish(copy: SavepointCopy): void {
  while (!copy.step(1));
}

const contents = (state: JobState, stage = 'count'): Record<string, string | undefined> =>
  Object.fromEntries(state.scan(stage, start, end, 1000).map(({ key, value }) => [text(key), text(value)]))

/** A run that has a, b and c in checkpoint 1, and from there another that starts from its savepoint. */
function running(): { at: Partition; state: JobState } {
  const at = new Partition()
  const state = at.begin('job', 1)
  for (const key of ['a', 'b', 'c']) state.write('count', bytes(key), bytes(`${key}1`), 1)
  checkpoint(state, 1)
  return { at, state }
}

describe('a savepoint', () => {
  test('holds what its checkpoint held, whatever is written while it is copied and after', () => {
    const { at, state } = running()
    const copy = at.copy(state, 1)
    state.write('count', bytes('b'), bytes('b2'), 2)
    state.write('count', bytes('c'), undefined, 2)
    state.write('count', bytes('d'), bytes('d2'), 2)
    state.write('other', bytes('x'), bytes('x2'), 2)
    checkpoint(state, 2)
    // The slot of checkpoint 1 goes.
    state.write('count', bytes('b'), bytes('b3'), 3)
    expect(state.tidy(10)).toBe(true)
    finish(copy)
    checkpoint(state, 3)
    at.import('new', 5)
    const next = at.begin('new', 6, { attempt: 5, n: 1 })
    expect(contents(next)).toEqual({ a: 'a1', b: 'b1', c: 'c1' })
    expect(contents(next, 'other')).toEqual({})
    expect(text(next.restored())).toBe('barrier 1')
    expect(contents(state)).toEqual({ a: 'a1', b: 'b3', d: 'd2' })
  })

  test('survives that its job is dropped, and is gone when it is dropped itself', () => {
    const { at, state } = running()
    finish(at.copy(state, 1))
    while (!dropJobState(at.store, 'job', 1, 2, at.append));
    at.import('job', 2)
    expect(contents(at.begin('job', 3, { attempt: 2, n: 1 }))).toEqual({ a: 'a1', b: 'b1', c: 'c1' })
    while (!at.drop(1));
    while (!dropJobState(at.store, 'job', 9, 9, at.append));
    expect(at.store.records.records).toBe(0)
  })

  test('is refused as a start while it is not whole, and as soon as its deletion has begun', () => {
    const { at, state } = running()
    const copy = at.copy(state, 1)
    copy.step(2)
    expect(() => at.import('new', 5)).toThrow('does not hold the whole savepoint')
    finish(copy)
    const begun = at.importer('new', 5)
    begun.begin()
    const read = begun.next(2)
    for (const record of read?.records ?? []) begun.put('count', record)
    expect(at.drop(1)).toBe(false)
    expect(() => begun.next(2)).toThrow('does not hold the whole savepoint')
    expect(() => begun.end(barrier => barrier)).toThrow('does not hold the whole savepoint')
    expect(() => at.begin('new', 6, { attempt: 5, n: 1 })).toThrow('does not hold checkpoint 1 of attempt 5')
  })

  test('fails alone when memory is short: the job goes on', () => {
    const at = new Partition(3 << 20)
    const state = at.begin('job', 1)
    const value = new Uint8Array(100_000)
    for (let i = 0; i < 20; i += 1) state.write('count', bytes(`${i}`), value, 1)
    checkpoint(state, 1)
    const copy = at.copy(state, 1)
    expect(() => finish(copy)).toThrow('does not fit')
    copy.close()
    while (!at.drop(2));
    state.write('count', bytes('0'), bytes('small'), 2)
    checkpoint(state, 2)
    expect(text(state.read('count', bytes('0')))).toBe('small')
  })

  test('is what a model says, over any interleaving of writes, checkpoints and slices', () => {
    for (let seed = 1; seed <= 200; seed += 1) interleave(seededRandom(seed))
  })
})

describe('an import', () => {
  test('leaves stages out, takes nothing of earlier runs under the name over, and may be begun again', () => {
    const { at, state } = running()
    state.write('gone', bytes('g'), bytes('g2'), 2)
    checkpoint(state, 2)
    finish(at.copy(state, 2))
    const old = at.begin('new', 1)
    old.write('count', bytes('stale'), bytes('s'), 1)
    checkpoint(old, 1)
    const first = at.importer('new', 5, ['gone'])
    while (!first.clear(1));
    first.begin()
    expect(first.isDone).toBe(false)
    first.put('count', { key: bytes('a'), value: bytes('half') })
    at.import('new', 5, ['gone'])
    expect(at.importer('new', 5).isDone).toBe(true)
    const next = at.begin('new', 6, { attempt: 5, n: 1 })
    expect(contents(next)).toEqual({ a: 'a1', b: 'b1', c: 'c1' })
    expect(contents(next, 'gone')).toEqual({})
    // Another attempt of the run finds it done, with what this one has written dead.
    next.write('count', bytes('a'), bytes('a6'), 1)
    expect(at.importer('new', 5).isDone).toBe(true)
    expect(contents(at.begin('new', 7, { attempt: 5, n: 1 }))['a']).toBe('a1')
  })

  test('is refused when an attempt has begun meanwhile', () => {
    const { at, state } = running()
    finish(at.copy(state, 1))
    const copy = at.importer('new', 5)
    copy.begin()
    at.begin('new', 8)
    expect(() => copy.next(1)).toThrow('another attempt has begun')
    expect(copy.isDone).toBe(true)
  })
})

function interleave(random: Random): void {
  const at = new Partition()
  const state = at.begin('job', 1)
  const model = new Map<string, string>()
  let n = 1
  let saved: Record<string, string> | undefined
  let copy: SavepointCopy | undefined
  const key = (): string => `${randomInteger(random, 12)}`
  for (let step = 0; step < 120 || copy === undefined || !isCopied(); step += 1) {
    const one = key()
    switch (randomInteger(random, 5)) {
      case 0:
        checkpoint(state, n)
        if (copy === undefined && step > 40) {
          saved = Object.fromEntries([...model].sort(([a], [b]) => (a < b ? -1 : 1)))
          copy = at.copy(state, n)
        }
        n += 1
        break
      case 1:
        state.write('count', bytes(one), undefined, n)
        model.delete(one)
        break
      case 2:
        state.tidy(3)
        break
      default:
        state.write('count', bytes(one), bytes(`${one} of ${step}`), n)
        model.set(one, `${one} of ${step}`)
    }
  }
  at.import('new', 5)
  expect(contents(at.begin('new', 6, { attempt: 5, n: 1 }))).toEqual(saved)

  function isCopied(): boolean {
    return randomInteger(random, 3) === 0 && copy?.step(1) === true
  }
}
