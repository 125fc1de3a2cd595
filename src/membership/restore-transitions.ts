/**
 * What is done with the copies that nodes found on their disks: one function per arrow, as in replica-transitions.ts.
 *
 * A record that becomes lost keeps its last in-sync replicas (`lastInSync`). A copy on disk bears the incarnation that wrote it.
 *
 * 1. A copy is used by itself only for a lost partition, only if its incarnation was in the last in-sync set and it is of the same
 *    `givenUp`, and only if it is complete, or the copies of the whole set are known: then the furthest. Nothing silently older.
 * 2. A restore is a new epoch with one in-sync replica, and counts up `givenUp`: whoever holds anything else of the partition starts empty.
 * 3. The record names the copy (`restoredFrom`) for as long as its primary stays: until the primary has made the copy its own, which it does
 *    before it serves, that copy stands for the primary, should that die.
 */
import type { Epoch, NodeId, ShardId } from '../base/ids.ts'
import { isSameReplica, type PartitionRecord, type Replica } from '../partitioning/partition-table.ts'
import type { ClusterState } from './cluster-state.ts'
import { isReachable } from './replica-transitions.ts'
import { findMember } from './transitions.ts'

/** A copy of a partition on a node's disk, left behind by an earlier incarnation. */
export interface FoundMirror {
  readonly partition: number
  /** The incarnation that wrote it. */
  readonly of: Replica
  readonly givenUp: number
  /** Its last log entry. */
  readonly last: { readonly epoch: number; readonly position: number }
  /** No snapshot was under way. */
  readonly whole: boolean
  /** It holds everything that its incarnation ever acknowledged. */
  readonly complete: boolean
  /** The shard of the present incarnation that can read it. */
  readonly at: ShardId
}

/** What a node found when it started; also when it is nothing. */
export interface MirrorReport {
  readonly node: NodeId
  readonly copies: readonly FoundMirror[]
}

interface Candidate {
  readonly copy: FoundMirror
  readonly at: Replica
}

/** Restores every lost partition for which that is sure to lose nothing more than the mirror's mode allows. */
export const restoreFromMirrors = (state: ClusterState, reports: readonly MirrorReport[]): ClusterState =>
  restore(state, reports, chooseSafely)

/** An operator accepts loss: the furthest copy that is there. What has none stays lost. */
export const restoreFurthest = (state: ClusterState, reports: readonly MirrorReport[]): ClusterState =>
  restore(state, reports, (record, candidates) => furthest(candidates.filter(({ copy }) => copy.whole && isOfRecord(record, copy))))

function restore(
  state: ClusterState,
  reports: readonly MirrorReport[],
  choose: (record: PartitionRecord, candidates: readonly Candidate[]) => Candidate | undefined,
): ClusterState {
  if (reports.length === 0 || state.partitions.every(({ primary }) => primary !== undefined)) return state
  const candidates = candidatesOf(state, reports)
  let isChanged = false
  const partitions = state.partitions.map((record, partition) => {
    const chosen = record.primary === undefined ? choose(record, candidates.get(partition) ?? []) : undefined
    if (chosen === undefined) return record
    isChanged = true
    return restored(record, chosen)
  })
  return isChanged ? { ...state, partitions } : state
}

/** Of members that may take a partition. */
function candidatesOf(state: ClusterState, reports: readonly MirrorReport[]): ReadonlyMap<number, readonly Candidate[]> {
  const found = new Map<number, Candidate[]>()
  for (const { node, copies } of reports) {
    const member = findMember(state, node)
    if (member === undefined || !isReachable(member)) continue
    for (const copy of copies) {
      if (!member.shards.some(({ id }) => id === copy.at)) continue
      const known = found.get(copy.partition)
      const candidate = { copy, at: { node, shard: copy.at } }
      if (known === undefined) found.set(copy.partition, [candidate])
      else known.push(candidate)
    }
  }
  return found
}

/** Invariant 1. */
function chooseSafely(record: PartitionRecord, candidates: readonly Candidate[]): Candidate | undefined {
  const set = record.lastInSync ?? []
  const known = set.map(replica => standIn(record, replica, candidates))
  const usable = known.filter(candidate => candidate !== undefined).filter(({ copy }) => copy.whole)
  const complete = usable.filter(({ copy }) => copy.complete)
  if (complete.length > 0) return furthest(complete)
  return usable.length > 0 && usable.length === set.length ? furthest(usable) : undefined
}

/** That replica's copy; of a primary that was restored and did not get to make the copy its own, the one that it was restored from. */
function standIn(record: PartitionRecord, replica: Replica, candidates: readonly Candidate[]): Candidate | undefined {
  const { restoredFrom } = record
  const own = candidates.filter(({ copy }) => isSameReplica(copy.of, replica) && copy.givenUp === givenUpOf(record))
  const first = own.find(({ copy }) => copy.whole) ?? own[0]
  if (first?.copy.whole === true || restoredFrom === undefined || !isSameReplica(restoredFrom.by, replica)) return first
  return candidates.find(({ copy }) => isBefore(record, copy))
}

const givenUpOf = ({ givenUp }: PartitionRecord): number => givenUp ?? 0
/** The copy from before the restore. */
const isBefore = ({ restoredFrom, givenUp }: PartitionRecord, copy: FoundMirror): boolean =>
  restoredFrom !== undefined &&
  isSameReplica(copy.of, restoredFrom.of) &&
  copy.givenUp === restoredFrom.givenUp &&
  copy.givenUp < (givenUp ?? 0)
const isOfRecord = (record: PartitionRecord, copy: FoundMirror): boolean => copy.givenUp === givenUpOf(record) || isBefore(record, copy)

/** As elections have it: by the epoch of the last entry, then by its position. Later numbers of `givenUp` come first. */
function furthest(candidates: readonly Candidate[]): Candidate | undefined {
  const isFurther = ({ copy: a }: Candidate, { copy: b }: Candidate): boolean => {
    if (a.givenUp !== b.givenUp) return a.givenUp > b.givenUp
    return a.last.epoch === b.last.epoch ? a.last.position > b.last.position : a.last.epoch > b.last.epoch
  }
  return candidates.reduce<Candidate | undefined>((best, next) => (best === undefined || isFurther(next, best) ? next : best), undefined)
}

function restored(record: PartitionRecord, { copy, at }: Candidate): PartitionRecord {
  return {
    epoch: (record.epoch + 1) as Epoch,
    primary: at,
    backups: [],
    inSync: [at],
    givenUp: givenUpOf(record) + 1,
    restoredFrom: { of: copy.of, givenUp: copy.givenUp, by: at },
  }
}
