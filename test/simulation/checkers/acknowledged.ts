/**
 * I1: every replica in the coordinator's in-sync set holds every acknowledged write; and with it I6: what was committed at a position
 * is never something else later.
 *
 * Looked at when a write is acknowledged and when the table changes; dead incarnations hold nothing and are not asked.
 */
import type { PartitionId } from '../../../src/base/ids.ts'
import type { EntryName, Report, World } from './checker.ts'

interface PartitionTruth {
  /** Acknowledged entries by position. */
  readonly byPosition: Map<number, EntryName>
  /** The newest ones, which are looked at again with every change; older ones lie below and stand or fall with them. */
  recent: EntryName[]
}

const recentMax = 8

export class AcknowledgedWrites {
  readonly #world: World
  readonly #report: Report
  readonly #truths = new Map<number, PartitionTruth>()
  count = 0

  constructor(world: World, report: Report) {
    this.#world = world
    this.#report = report
  }

  /** A caller is told that the entry stands. */
  acknowledged(partition: PartitionId, name: EntryName, by: string): void {
    const truth = this.#truthOf(partition)
    const known = truth.byPosition.get(name.position)
    if (known !== undefined && known.epoch !== name.epoch) {
      this.#report({
        invariant: 'I6',
        atMs: this.#world.nowMs,
        text: `partition ${partition}: ${by} acknowledges ${name.epoch}/${name.position}, but ${known.epoch}/${known.position} was acknowledged before`,
      })
    }
    this.count += 1
    if (known === undefined) {
      truth.byPosition.set(name.position, name)
      truth.recent = [...truth.recent, name].sort((a, b) => a.position - b.position).slice(-recentMax)
    }
    this.#checkHolds(partition, [name])
    // Who had it and has died since held it when it acknowledged it.
    if (this.#world.minInSync > 1 && this.#world.holdersOf(partition, name) < this.#world.minInSync) {
      const text = `partition ${partition}: ${by} acknowledges ${name.epoch}/${name.position}, which fewer than ${this.#world.minInSync} replicas hold`
      this.#report({ invariant: 'minInSync', atMs: this.#world.nowMs, text })
    }
  }

  /** The data was given up: nothing is owed. */
  gaveUp(partition: PartitionId): void {
    this.#truths.delete(partition)
  }

  checkAll(): void {
    for (const [partition, truth] of this.#truths) this.#checkHolds(partition as PartitionId, truth.recent)
  }

  #checkHolds(partition: PartitionId, names: readonly EntryName[]): void {
    const record = this.#world.view?.state.partitions[partition]
    for (const replica of record?.inSync ?? []) {
      if (!this.#world.isAlive(replica.shard)) continue
      for (const name of names) {
        if (this.#world.holds(replica, partition, name)) continue
        this.#report({
          invariant: 'I1',
          atMs: this.#world.nowMs,
          text: `partition ${partition}: in-sync replica ${replica.shard} lacks acknowledged entry ${name.epoch}/${name.position} (epoch ${record?.epoch ?? 0})`,
        })
      }
    }
  }

  #truthOf(partition: number): PartitionTruth {
    let truth = this.#truths.get(partition)
    if (truth === undefined) {
      truth = { byPosition: new Map(), recent: [] }
      this.#truths.set(partition, truth)
    }
    return truth
  }
}
