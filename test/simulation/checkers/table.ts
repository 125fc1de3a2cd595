/**
 * What every change of the cluster state must keep, seen at the moment at which the coordinator takes it.
 *
 * I5 the live in-sync copies never fall because of a migration; I6 epochs only grow, and with every change of primary or in-sync set;
 * I7 a partition is lost exactly when all its in-sync incarnations are dead, and only an operator gives it up; an in-sync set is
 * never empty; I11 without a death nothing is lost.
 */
import type { ClusterView, PartitionRecord, Replica } from '../../../src/membership/cluster-state.ts'
import type { Report, World } from './checker.ts'

/** Changes by which nothing may become worse. */
const migrationCauses = new Set(['moves', 'request.add', 'request.handOver'])

const isSame = (a: Replica | undefined, b: Replica | undefined): boolean => a?.shard === b?.shard && a?.node === b?.node
const isIn = (replica: Replica, set: readonly Replica[]): boolean => set.some(other => isSame(other, replica))

export function checkTableChange(
  world: World,
  before: ClusterView | undefined,
  after: ClusterView,
  causes: readonly string[],
  report: Report,
): void {
  const at = (invariant: string, text: string): void => report({ invariant, atMs: world.nowMs, text: `version ${after.version}: ${text}` })
  const gone = new Set(after.state.members.filter(({ status }) => status === 'suspect' || status === 'dead').map(({ id }) => id))
  for (const [partition, record] of after.state.partitions.entries()) {
    const old = before?.state.partitions[partition]
    if (record.primary !== undefined && !isIn(record.primary, record.inSync)) at('I1', `partition ${partition}: the primary is not in-sync`)
    if (old === undefined) continue
    checkEpoch(partition, old, record, at)
    const isForsaken = !old.inSync.some(replica => isIn(replica, record.inSync))
    if (isForsaken && old.inSync.some(({ shard }) => world.isAlive(shard))) {
      at('I7', `partition ${partition} lost its last in-sync replica, which lives: ${describe(old)} -> ${describe(record)}`)
    }
    const gaveUp = (record.givenUp ?? 0) > (old.givenUp ?? 0)
    if (isForsaken && record.inSync.length > 0 && !gaveUp) {
      at('I7', `partition ${partition}: others hold it now, and nobody gave it up: ${describe(old)} -> ${describe(record)}`)
    }
    if (gaveUp && !causes.includes('recovered')) at('I7', `partition ${partition} was given up, but not by an operator`)
    // A death that nobody can know of yet is none of a migration's doing.
    // Copies of one node, while one moves between its shards, die together.
    const count = (set: readonly Replica[]): number => new Set(set.map(({ node }) => node).filter(node => !gone.has(node))).size
    const isMigration = causes.every(cause => migrationCauses.has(cause))
    if (isMigration && count(record.inSync) < Math.min(count(old.inSync), world.backups + 1)) {
      at('I5', `partition ${partition}: a migration took live in-sync copies from ${describe(old)} to ${describe(record)}`)
    }
  }
}

function checkEpoch(partition: number, old: PartitionRecord, record: PartitionRecord, at: (invariant: string, text: string) => void): void {
  const isChanged =
    !isSame(old.primary, record.primary) ||
    old.inSync.length !== record.inSync.length ||
    !old.inSync.every(replica => isIn(replica, record.inSync))
  if (record.epoch < old.epoch || (isChanged && record.epoch === old.epoch)) {
    at('I6', `partition ${partition}: epoch ${old.epoch} -> ${record.epoch}, ${describe(old)} -> ${describe(record)}`)
  }
}

const describe = (record: PartitionRecord): string =>
  `{primary ${record.primary?.shard ?? 'none'}, in-sync ${record.inSync.map(({ shard }) => shard).join(' ')}, epoch ${record.epoch}}`
