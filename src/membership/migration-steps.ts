/**
 * From today's table to the target, one step of a partition at a time: learner in, (its primary adds it), hand over, surplus out.
 *
 * Owns: the target, which holds until the members change. Does not: add to in-sync sets (the primary asks) or hand over (orders).
 *
 * 1. A node takes part in at most `movesPerNode` copies at a time, as source or destination.
 * 2. An in-sync replica is taken out only when all of the partition's target replicas are in sync, and enough copies remain (I5): a
 *    member that leaves waits for somebody to take its place, and whoever cannot wait ends it.
 * 3. Primaries of leaving members are handed over first, as soon as any in-sync replica can take them.
 */
import type { PartitionId } from '../base/ids.ts'
import { type HandOverOrder, isSameReplica, type PartitionRecord, type Replica } from '../partitioning/partition-table.ts'
import { type Placement, placementTarget } from '../partitioning/placement.ts'
import type { ClusterState } from './cluster-state.ts'
import { addLearner, availabilityOf, dropReplica, reachableMembers, stayingMembers } from './replica-transitions.ts'
import { findMember, hasFormed, toPlacementMember } from './transitions.ts'

export interface MigrationOptions {
  readonly backups: number
  readonly movesPerNode: number
}

export class MigrationSteps {
  readonly #options: MigrationOptions
  #targetOf = ''
  #target: readonly Placement[] = []

  constructor(options: MigrationOptions) {
    this.#options = options
  }

  /**
   * The next state; the same when there is nothing to do now. A record handed over since `before`, which nobody has read yet, stays as
   * it is: only whoever reads that very record need not wait.
   */
  step(state: ClusterState, before: ClusterState = state): ClusterState {
    if (!this.#refresh(state)) return state
    const moves = movesOf(state)
    let next = state
    for (const [partition, record] of state.partitions.entries()) {
      if (record.primary === undefined || availabilityOf(state, record) !== 'available') continue
      if (record.handedOver === true && record !== before.partitions[partition]) continue
      next = this.#stepPartition(next, partition, record, record.primary, moves)
    }
    return forgetLeft(next)
  }

  /** Hand-overs to order now; ordered again until the table shows them. */
  orders(state: ClusterState): readonly HandOverOrder[] {
    if (!this.#refresh(state)) return []
    return state.partitions.flatMap((record, partition): readonly HandOverOrder[] => {
      const { primary, epoch } = record
      if (primary === undefined || availabilityOf(state, record) !== 'available') return []
      const to = this.#nextPrimary(state, partition, record, primary)
      return to === undefined ? [] : [{ kind: 'handOver', partition: partition as PartitionId, epoch, from: primary, to }]
    })
  }

  #nextPrimary(state: ClusterState, partition: number, record: PartitionRecord, primary: Replica): Replica | undefined {
    const wanted = this.#target[partition]?.primary
    if (wanted === undefined || isSameReplica(wanted, primary)) return undefined
    if (includes(record.inSync, wanted)) return wanted
    if (findMember(state, primary.node)?.status !== 'leaving') return undefined
    const staying = new Set(stayingMembers(state).map(({ id }) => id))
    return record.inSync.find(replica => staying.has(replica.node))
  }

  #stepPartition(state: ClusterState, partition: number, record: PartitionRecord, primary: Replica, moves: Moves): ClusterState {
    const { primary: wanted, backups } = this.#target[partition] as Placement
    const target = wanted === undefined ? backups : [wanted, ...backups]
    const held = [primary, ...record.backups]
    const missing = target.find(replica => !includes(held, replica))
    if (missing !== undefined) {
      const { movesPerNode } = this.#options
      if (moves.of(primary.node) >= movesPerNode || moves.of(missing.node) >= movesPerNode) return state
      moves.add(primary.node)
      moves.add(missing.node)
      return addLearner(state, partition, missing)
    }
    if (!target.every(replica => includes(record.inSync, replica))) return state
    const surplus = record.backups.find(replica => !includes(target, replica) && this.#isSpare(state, record, replica))
    return surplus === undefined ? state : dropReplica(state, partition, surplus)
  }

  /** Enough copies stay without it, also while a member that holds one of them wants to leave. Copies of one node, between whose shards one moves, are one. */
  #isSpare(state: ClusterState, { inSync }: PartitionRecord, replica: Replica): boolean {
    if (!includes(inSync, replica)) return true
    const others = new Set(inSync.filter(other => !isSameReplica(other, replica)).map(({ node }) => node))
    return others.has(replica.node) || others.size >= Math.min(this.#options.backups + 1, reachableMembers(state).length)
  }

  /** False: there is nothing to aim at. */
  #refresh(state: ClusterState): boolean {
    const members = stayingMembers(state)
    if (!hasFormed(state) || members.length === 0) return false
    const lost = state.partitions.map(({ primary, givenUp = 0 }) => (primary === undefined ? 'x' : givenUp)).join()
    const targetOf = `${members.map(({ id }) => id).join()} ${lost}`
    if (targetOf === this.#targetOf) return true
    this.#target = placementTarget(members.map(toPlacementMember), state.partitions, { backups: this.#options.backups })
    this.#targetOf = targetOf
    return true
  }
}

/** Copies under way per node. */
class Moves {
  readonly #counts = new Map<string, number>()

  of(node: string): number {
    return this.#counts.get(node) ?? 0
  }

  add(node: string): void {
    this.#counts.set(node, this.of(node) + 1)
  }
}

function movesOf(state: ClusterState): Moves {
  const reachable = new Set(reachableMembers(state).map(({ id }) => id))
  const moves = new Moves()
  for (const { primary, backups, inSync } of state.partitions) {
    for (const replica of backups) {
      if (primary === undefined || includes(inSync, replica) || !reachable.has(replica.node)) continue
      moves.add(primary.node)
      moves.add(replica.node)
    }
  }
  return moves
}

/** A leaving member that holds nothing any more has left. */
function forgetLeft(state: ClusterState): ClusterState {
  const used = new Set(state.partitions.flatMap(({ primary, backups }) => [primary?.node, ...backups.map(({ node }) => node)]))
  const members = state.members.filter(({ id, status }) => status !== 'leaving' || used.has(id))
  return members.length === state.members.length ? state : { ...state, members }
}

const includes = (replicas: readonly Replica[], replica: Replica): boolean => replicas.some(other => isSameReplica(other, replica))
