/**
 * The partitions of a cluster as jobs see them: each a log of effects with one primary at a time. What a primary applies is committed
 * a little later, in order, and only while its epoch lasts; another primary has the committed effects, and perhaps some more.
 *
 * A deposed primary keeps its store and goes on with it until it learns: nothing that it writes is ever committed. What an attempt
 * opened stays with the epochs that it was opened in: a shard that is primary again of the same partition has lost writes in between.
 */
import type { RestorePoint } from '../../../src/streaming/master/record.ts'
import { NearstateError } from '../../../src/base/errors.ts'
import { type Random, randomInteger } from '../../../src/base/random.ts'
import type { CheckpointRules } from '../../../src/streaming/checkpoint/rules.ts'
import type { LocalMap, StateStore } from '../../../src/streaming/ports.ts'
import { MemoryState } from '../../../src/streaming/state/memory-state.ts'
import { decodeValue } from '../../../src/wire/value-codec.ts'
import type { Scheduler } from '../engine/scheduler.ts'

/** One copy of one partition: state of jobs, and rows of maps. */
class Replica {
  readonly state: MemoryState
  readonly maps = new Map<string, Map<string, unknown>>()
  readonly #stores = new Map<string, StateStore>()

  constructor(partitions: number, rules: CheckpointRules) {
    this.state = new MemoryState(partitions, rules)
  }

  store(attempt: number, restore: RestorePoint): StateStore {
    const name = `${attempt} ${restore.attempt} ${restore.n}`
    let store = this.#stores.get(name)
    if (store === undefined) {
      store = this.state.store(attempt, restore)
      this.#stores.set(name, store)
    }
    return store
  }
}

type Effect = (replica: Replica) => void

interface Pending {
  readonly effect: Effect
  readonly done: (() => void) | undefined
  isAcknowledged: boolean
}

/** What a shard holds of a partition, as primary of that epoch. */
interface Held {
  readonly epoch: number
  readonly replica: Replica
  readonly pending: Pending[]
}

interface Partition {
  epoch: number
  primary: number
  readonly log: Effect[]
}

export class ReplicatedPartitions {
  readonly count: number
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #rules: CheckpointRules
  readonly #partitions: readonly Partition[]
  /** By shard, by partition. */
  readonly #held: readonly Map<number, Held>[]

  constructor(count: number, shards: number, scheduler: Scheduler, random: Random, rules: CheckpointRules) {
    this.count = count
    this.#scheduler = scheduler
    this.#random = random
    this.#rules = rules
    this.#held = Array.from({ length: shards }, () => new Map<number, Held>())
    this.#partitions = Array.from({ length: count }, (_, partition) => {
      const primary = partition % shards
      this.#held[primary]?.set(partition, { epoch: 1, replica: new Replica(count, rules), pending: [] })
      return { epoch: 1, primary, log: [] }
    })
  }

  get primaries(): readonly number[] {
    return this.#partitions.map(({ primary }) => primary)
  }

  get epochs(): readonly number[] {
    return this.#partitions.map(({ epoch }) => epoch)
  }

  /** Another shard becomes primary: what was committed is there, of the rest some first part. */
  move(partition: number, to: number): void {
    const record = this.#partitions[partition] as Partition
    const old = this.#held[record.primary]?.get(partition)
    const survives = old === undefined ? 0 : randomInteger(this.#random, old.pending.length + 1)
    for (const { effect } of old?.pending.slice(0, survives) ?? []) record.log.push(effect)
    record.epoch += 1
    record.primary = to
    this.#held[to]?.set(partition, { epoch: record.epoch, replica: this.#replay(record), pending: [] })
  }

  /** The shard has lost its memory. */
  forget(shard: number): void {
    this.#held[shard]?.clear()
  }

  /** The start of an attempt, as an effect in this epoch; `done` when it is committed. */
  begin(shard: number, partition: number, epoch: number, attempt: number, restore: RestorePoint, done: () => void): void {
    const effect: Effect = ({ state }) => state.begin(partition, attempt, restore)
    if (this.#rules.startInLog) {
      this.#apply(shard, partition, epoch, effect, done)
      return
    }
    effect(this.#heldBy(shard, partition, epoch).replica)
    this.#scheduler.after(1, done)
  }

  /** What a shard's task of an attempt reads and writes: every partition through the replica that the shard holds. */
  store(shard: number, epochs: readonly number[], attempt: number, restore: RestorePoint): StateStore {
    const here = (partition: number): StateStore => this.#heldBy(shard, partition, epochs[partition]).replica.store(attempt, restore)
    return {
      isFresh: restore.attempt === 0,
      read: (partition, stage, key) => here(partition).read(partition, stage, key),
      scan: (partition, stage, from, to, limit) => here(partition).scan(partition, stage, from, to, limit),
      restored: partition => here(partition).restored(partition),
      write: (partition, stage, changes, n) => {
        const own = changes.map(({ key, value }) => ({ key: key.slice(), value: value?.slice() }))
        const effect: Effect = replica => replica.store(attempt, restore).write(partition, stage, own, n)
        this.#apply(shard, partition, epochs[partition], effect)
      },
      endBarrier: (partition, n, value, done) => {
        const ownValue = value.slice()
        const effect: Effect = replica => replica.store(attempt, restore).endBarrier(partition, n, ownValue, () => {})
        this.#apply(shard, partition, epochs[partition], effect, done)
      },
      committed: n => {
        for (const [partition, { epoch }] of this.#held[shard] ?? []) {
          if (epoch !== epochs[partition]) continue
          this.#apply(shard, partition, epoch, replica => replica.store(attempt, restore).committed(n))
        }
      },
      savepoint: (_name, _n, done) => done(),
    }
  }

  /** A map, written under the fence of the attempt. */
  map(shard: number, epochs: readonly number[], name: string, attempt: number, restore: RestorePoint): LocalMap {
    const fence = Uint8Array.of(255)
    const rowsOf = ({ maps }: Replica): Map<string, unknown> => {
      const rows = maps.get(name) ?? new Map<string, unknown>()
      maps.set(name, rows)
      return rows
    }
    return {
      get: (partition, key) => rowsOf(this.#heldBy(shard, partition, epochs[partition]).replica).get(JSON.stringify(key)),
      setEncoded: (partition, key, value) => {
        const bytes = value.slice()
        this.#apply(shard, partition, epochs[partition], replica => {
          replica.store(attempt, restore).read(partition, '', fence)
          rowsOf(replica).set(JSON.stringify(key), decodeValue(bytes))
        })
      },
    }
  }

  /** What is committed in all partitions of a map. */
  rowsOf(map: string): ReadonlyMap<string, unknown> {
    const rows = new Map<string, unknown>()
    for (const record of this.#partitions) for (const [key, value] of this.#replay(record).maps.get(map) ?? []) rows.set(key, value)
    return rows
  }

  #heldBy(shard: number, partition: number, epoch: number | undefined): Held {
    const held = this.#held[shard]?.get(partition)
    if (held === undefined || (held.epoch !== epoch && this.#rules.storeBoundToTerm)) {
      throw new NearstateError('UNAVAILABLE', `shard ${shard} is not the primary of partition ${partition} in epoch ${epoch}`)
    }
    return held
  }

  #apply(shard: number, partition: number, epoch: number | undefined, effect: Effect, done?: () => void): void {
    const held = this.#heldBy(shard, partition, epoch)
    effect(held.replica)
    const pending: Pending = { effect, done, isAcknowledged: false }
    held.pending.push(pending)
    this.#scheduler.after(1 + this.#random.next() * 8, () => {
      pending.isAcknowledged = true
      const record = this.#partitions[partition] as Partition
      while (record.epoch === held.epoch && held.pending[0]?.isAcknowledged === true) {
        const first = held.pending.shift() as Pending
        record.log.push(first.effect)
        first.done?.()
      }
    })
  }

  #replay({ log }: Partition): Replica {
    const replica = new Replica(this.count, this.#rules)
    for (const effect of log) effect(replica)
    return replica
  }
}
