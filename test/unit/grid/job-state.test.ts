import { describe, expect, test } from 'vitest'
import { type Random, randomInteger, seededRandom } from '../../../src/base/random.ts'
import { beginAttempt, dropJobState, JobState } from '../../../src/grid/job-state.ts'
import { type CheckpointPoint, JobStateView } from '../../../src/grid/job-state-view.ts'
import { applyEffect, copyEffect, type Effect } from '../../../src/storage/effect.ts'
import { applyImage, readImage } from '../../../src/storage/image.ts'
import { KeptBytes } from '../../../src/storage/kept-bytes.ts'
import { MemoryBudget } from '../../../src/storage/memory-budget.ts'
import { PartitionStore } from '../../../src/storage/partition-store.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (value: Uint8Array | undefined): string | undefined => (value === undefined ? undefined : new TextDecoder().decode(value))
const start = new Uint8Array(0)
const end = Uint8Array.of(255)

/** A partition and its log: what a replica that has so many of its effects holds. */
class Partition {
  readonly budget: MemoryBudget
  readonly store: PartitionStore
  readonly log: Effect[] = []
  readonly #kept = new KeptBytes()

  constructor(log: readonly Effect[] = [], limitBytes = 1 << 26) {
    this.budget = new MemoryBudget(limitBytes)
    this.store = new PartitionStore(this.budget, 1)
    for (const effect of log) this.append(effect)
  }

  readonly append = (effect: Effect): void => {
    this.log.push(copyEffect(effect, this.#kept))
    applyEffect(this.store, effect)
  }

  begin(attempt: number, restore = { attempt: 0, n: 0 }): JobState {
    return beginAttempt(this.#options(attempt), restore)
  }

  open(attempt: number): JobState {
    return new JobState(this.#options(attempt))
  }

  drop(limit: number, keep: readonly string[] = []): boolean {
    return dropJobState(this.store, 'job', Number.MAX_SAFE_INTEGER, limit, this.append, keep)
  }

  /** What a reader from outside finds, in pages of three. */
  seenAt(point: CheckpointPoint, stage = 'count'): Map<string, string> {
    const found = new Map<string, string>()
    const view = new JobStateView(this.store, 'job')
    for (let from: Uint8Array | undefined = start; from !== undefined; ) {
      const page = view.scan(stage, from, end, point, { records: 3, bytes: 20 })
      for (const { key, value } of page.rows) {
        found.set(text(key) ?? '', text(value) ?? '')
        expect(text(view.read(stage, key, point))).toBe(text(value))
      }
      from = page.next
    }
    return found
  }

  image(): Partition {
    const copy = new Partition()
    let chunk = readImage(this.store, undefined, 100)
    applyImage(copy.store, chunk)
    while (chunk.cursor !== undefined) {
      chunk = readImage(this.store, chunk.cursor, 100)
      applyImage(copy.store, chunk)
    }
    return copy
  }

  #options(attempt: number): ConstructorParameters<typeof JobState>[0] {
    const { store, budget, append } = this
    return { job: 'job', partition: 3, attempt, store, budget, append }
  }
}

function checkpoint(state: JobState, n: number): void {
  state.writeBarrier(n, bytes(`barrier ${n}`))
  while (!state.isSwept) state.sweep(2)
  state.committed(n)
}

describe('starts of attempts', () => {
  test('a start not above the last one is refused', () => {
    const partition = new Partition()
    partition.begin(2)
    expect(() => partition.begin(2)).toThrow('attempt 2 was started there')
    expect(() => partition.begin(1)).toThrow('attempt 2 was started there')
  })

  test('an older attempt can neither read nor write after a newer one has begun', () => {
    const partition = new Partition()
    const old = partition.begin(1)
    old.write('count', bytes('a'), bytes('1'), 1)
    partition.begin(2)
    expect(() => old.read('count', bytes('a'))).toThrow('attempt 2 has begun there')
    expect(() => old.write('count', bytes('a'), bytes('2'), 1)).toThrow('attempt 2 has begun there')
    expect(() => old.sweep(1)).toThrow('attempt 2 has begun there')
  })

  test('a replica that has the start in its log refuses as well', () => {
    const partition = new Partition()
    partition.begin(2)
    const replica = new Partition(partition.log)
    expect(() => replica.open(1)).toThrow('attempt 2 has begun there')
    expect(replica.open(2).read('count', bytes('a'))).toBe(undefined)
  })

  test('a start without the barrier record of its restore point is refused, and fences all the same', () => {
    const partition = new Partition()
    const first = partition.begin(1)
    checkpoint(first, 1)
    expect(() => partition.begin(2, { attempt: 1, n: 2 })).toThrow('does not hold checkpoint 2 of attempt 1')
    expect(() => first.restored()).toThrow('attempt 2 has begun there')
    expect(text(partition.begin(3, { attempt: 1, n: 1 }).restored())).toBe('barrier 1')
  })
})

describe('slots', () => {
  test('a write spares the newest valid slot, over checkpoints that are given up', () => {
    const partition = new Partition()
    const state = partition.begin(1)
    state.write('count', bytes('a'), bytes('one'), 1)
    checkpoint(state, 1)
    state.write('count', bytes('a'), bytes('two'), 2)
    state.write('count', bytes('a'), bytes('three'), 3)
    expect(text(state.read('count', bytes('a')))).toBe('three')
    expect(text(partition.begin(2, { attempt: 1, n: 1 }).read('count', bytes('a')))).toBe('one')
  })

  test('a removed record stays until its tombstone is committed, then both slots go', () => {
    const partition = new Partition()
    const state = partition.begin(1)
    state.write('count', bytes('a'), bytes('one'), 1)
    checkpoint(state, 1)
    const before = partition.store.records.records
    state.write('count', bytes('a'), undefined, 2)
    expect(state.read('count', bytes('a'))).toBe(undefined)
    state.tidy(10)
    expect(partition.store.records.records).toBeGreaterThan(before)
    checkpoint(state, 2)
    expect(state.tidy(10)).toBe(true)
    // The barrier record has two slots now.
    expect(partition.store.records.records).toBe(before)
  })

  test('a log that ends within the removal of a record does not bring its value back', () => {
    const partition = new Partition()
    const state = partition.begin(1)
    state.write('count', bytes('a'), bytes('one'), 1)
    checkpoint(state, 1)
    state.write('count', bytes('a'), undefined, 2)
    checkpoint(state, 2)
    const from = partition.log.length
    state.tidy(10)
    for (let length = from; length <= partition.log.length; length += 1) {
      const next = new Partition(partition.log.slice(0, length)).begin(2, { attempt: 1, n: 2 })
      expect(next.read('count', bytes('a'))).toBe(undefined)
    }
  })

  test('records whose keys begin alike come in order, each once', () => {
    const state = new Partition().begin(1)
    const keys = ['b', 'a\0', 'a', 'aa', 'a\0\0', 'c']
    for (const n of [1, 2]) {
      for (const key of keys) state.write('timers', bytes(key), bytes(`${key}${n}`), n)
      checkpoint(state, n)
    }
    const found = [1, 2, 3, 10].map(limit => state.scan('timers', bytes('a'), bytes('c'), limit).map(({ key }) => text(key)))
    const inOrder = ['a', 'a\0', 'a\0\0', 'aa', 'b']
    expect(found).toEqual([inOrder.slice(0, 1), inOrder.slice(0, 2), inOrder.slice(0, 3), inOrder])
  })

  test('state that finds no memory is refused by name', () => {
    const state = new Partition([], 64 * 1024).begin(1)
    const fill = (): void => {
      for (let i = 0; i < 100; i += 1) state.write('count', bytes(`${i}`), new Uint8Array(2000), 1)
    }
    expect(fill).toThrow('give the nodes more memory')
  })

  test('a job that has ended goes in slices, and nothing of it is left', () => {
    const partition = new Partition()
    const empty = partition.budget.usedBytes
    const state = partition.begin(1)
    for (let i = 0; i < 50; i += 1) state.write('count', bytes(`${i}`), bytes('value'), 1)
    checkpoint(state, 1)
    let slices = 1
    while (!partition.drop(20)) slices += 1
    expect(slices).toBe(3)
    expect(partition.store.records.records).toBe(0)
    expect(partition.budget.usedBytes).toBe(empty)
    expect(() => state.read('count', bytes('1'))).toThrow('has ended')
  })
})

/** What a job is to see: the working state, and that of every checkpoint that was committed. */
class Model {
  working = new Map<string, string>()
  restored = new Map<string, string>()
  point = { attempt: 0, n: 0 }
}

const dump = (state: JobState): Map<string, string> =>
  new Map(state.scan('count', start, end, 1000).map(({ key, value }) => [text(key) ?? '', text(value) ?? '']))

function change(random: Random, state: JobState, model: Model, n: number, partition: Partition): void {
  for (let i = randomInteger(random, 12); i > 0; i -= 1) {
    const key = `${randomInteger(random, 10)}`
    const value = randomInteger(random, 3) === 0 ? undefined : `${key}@${partition.log.length}`
    state.write('count', bytes(key), value === undefined ? undefined : bytes(value), n)
    if (value === undefined) model.working.delete(key)
    else model.working.set(key, value)
    if (randomInteger(random, 4) === 0) state.tidy(1 + randomInteger(random, 4))
    if (!state.isSwept && randomInteger(random, 2) === 0) state.sweep(1 + randomInteger(random, 5))
    expect(text(state.read('count', bytes(key)))).toBe(value)
  }
}

describe('a job that has ended', () => {
  test('leaves only the stages to keep, which can be read as of its last checkpoint until they go too', () => {
    const partition = new Partition()
    const state = partition.begin(4)
    for (let i = 0; i < 20; i += 1) {
      state.write('count', bytes(`${i}`), bytes('dropped'), 1)
      state.write('rows', bytes(`${i}`), bytes('kept'), 1)
    }
    checkpoint(state, 1)
    state.write('rows', bytes('late'), bytes('of no checkpoint'), 2)
    while (!partition.drop(7, ['rows'])) expect(partition.log.length).toBeLessThan(500)
    expect(partition.seenAt({ attempt: 4, n: 1 }).size).toBe(0)
    expect([...partition.seenAt({ attempt: 4, n: 1 }, 'rows').values()]).toEqual(Array.from({ length: 20 }, () => 'kept'))
    const before = partition.log.length
    expect(partition.drop(7, ['rows'])).toBe(true)
    expect(partition.log.length).toBe(before)
    while (!partition.drop(7)) expect(partition.log.length).toBeLessThan(500)
    expect(partition.store.records.records).toBe(0)
  })

  test('leaves a row that tells its last attempt where it has kept nothing', () => {
    const partition = new Partition()
    checkpoint(partition.begin(4), 1)
    expect(partition.drop(100, ['rows'])).toBe(true)
    expect(new JobStateView(partition.store, 'job').attempt).toBe(4)
  })
})

describe('any run of writes, checkpoints, crashes and copies', () => {
  test.each(Array.from({ length: 150 }, (_, seed) => seed))('reads what the last checkpoint held (seed %i)', seed => {
    const random = seededRandom(seed)
    const model = new Model()
    let partition = new Partition()
    for (let attempt = 1; attempt <= 8; attempt += 1) {
      const state = partition.begin(attempt, model.point)
      model.working = new Map(model.restored)
      expect(dump(state)).toEqual(model.restored)
      expect(partition.seenAt(model.point)).toEqual(model.restored)
      let safe = partition.log.length
      const barriers = randomInteger(random, 5)
      for (let n = 1; n <= barriers; n += 1) {
        change(random, state, model, n, partition)
        expect(dump(state)).toEqual(model.working)
        expect(partition.seenAt(model.point)).toEqual(model.restored)
        if (randomInteger(random, 3) === 0) continue
        state.writeBarrier(n, bytes(`${attempt}/${n}`))
        while (!state.isSwept) state.sweep(3)
        safe = partition.log.length
        state.committed(n)
        model.point = { attempt, n }
        model.restored = new Map(model.working)
      }
      // What was not answered for may be lost.
      const kept = safe + randomInteger(random, partition.log.length - safe + 1)
      const isCopied = randomInteger(random, 3) === 0
      const { log } = partition
      partition = new Partition(log.slice(0, kept))
      expect(partition.seenAt(model.point)).toEqual(model.restored)
      if (isCopied) expect(dump(partition.image().open(attempt)).size).toBe(dump(partition.open(attempt)).size)
      for (const space of partition.store.records.spaces()) expect(space).toBeLessThan(6)
    }
    const last = partition.begin(99, model.point)
    expect(dump(last)).toEqual(model.restored)
    expect(text(last.restored())).toBe(model.point.attempt === 0 ? undefined : `${model.point.attempt}/${model.point.n}`)
    while (!last.isSwept) last.sweep(1)
    expect(partition.image().store.records.records).toBe(partition.store.records.records)
    expect(dump(last)).toEqual(model.restored)
  })
})
