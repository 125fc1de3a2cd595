/** The demo's fault: a node is killed under reads and writes of many clients, and what they saw of it is counted. */
import { setTimeout as sleep } from 'node:timers/promises'
import { NearstateError } from '../base/errors.ts'
import { connect } from '../client/connect.ts'
import type { ClusterDescription } from '../client/cluster-description.ts'
import type { Grid } from '../client/grid.ts'
import type { DevCluster } from '../node/dev.ts'
import { Ledger, type LedgerReport } from './ledger.ts'

/** All null where there was no second node to take over. */
export type FaultFields = FaultResult | { readonly [Field in keyof FaultResult]: null }

export const nothingKilled: FaultFields = {
  killed: null,
  failoverGapMs: null,
  acknowledgedWritesLost: null,
  staleReads: null,
  redundancyBackMs: null,
  writesAndReads: null,
}

export interface FaultResult {
  readonly killed: string
  /** Longest time that any partition gave no answer to a reader or writer. */
  readonly failoverGapMs: number
  readonly acknowledgedWritesLost: number
  readonly staleReads: number
  /** From the kill until every partition has all its copies again. */
  readonly redundancyBackMs: number
  readonly writesAndReads: number
}

const clientCount = 4
const pauseMs = 50
const beforeMs = 1000
const redundancyWithinMs = 60_000

/** Kills the last node with SIGKILL. */
export function killLast(cluster: DevCluster): { readonly name: string; readonly pid: number } {
  const victim = cluster.nodes.at(-1)
  if (victim === undefined) throw new NearstateError('INTERNAL', 'There is no node to kill')
  process.kill(victim.pid, 'SIGKILL')
  return victim
}

/** Kills the last node, and goes on until all copies are back. */
export async function killUnderLoad(cluster: DevCluster, signal: AbortSignal): Promise<FaultResult> {
  const clients: Grid[] = []
  let ledger: Ledger | undefined
  try {
    for (let i = 0; i < clientCount; i += 1) clients.push(await connect({ endpoints: cluster.endpoints, requestTimeout: '15s' }))
    const [grid] = clients as [Grid]
    const { partitionCount } = grid.cluster.describe()
    ledger = new Ledger(clients, partitionCount, { map: 'demo-ledger', pauseMs })
    await redundancy(grid, signal)
    await ledger.start()
    await sleep(beforeMs, undefined, { signal })
    ledger.takeGapsMs()
    const victim = killLast(cluster)
    const killedAtMs = performance.now()
    await redundancy(grid, signal, victim.pid)
    const redundancyBackMs = Math.round(performance.now() - killedAtMs)
    return { ...resultOf(await ledger.stop()), killed: victim.name, redundancyBackMs }
  } finally {
    ledger?.abandon()
    await Promise.all(clients.map(client => client.close()))
  }
}

const resultOf = (report: LedgerReport): Omit<FaultResult, 'killed' | 'redundancyBackMs'> => ({
  failoverGapMs: Math.round(Math.max(0, ...report.gapsMs)),
  acknowledgedWritesLost: report.acknowledgedWritesLost,
  staleReads: report.staleReads + report.inventedReads,
  writesAndReads: report.operations,
})

/** Resolves when every partition has all its copies, none of them on the process that is gone. */
export async function redundancy(grid: Grid, signal: AbortSignal, withoutPid?: number): Promise<void> {
  const deadlineMs = performance.now() + redundancyWithinMs
  for (;;) {
    if (isRedundant(grid.cluster.describe(), withoutPid)) return
    if (performance.now() > deadlineMs)
      throw new NearstateError(
        'DEADLINE_EXCEEDED',
        `The partitions did not get all their copies back within ${redundancyWithinMs / 1000} s`,
      )
    await sleep(20, undefined, { signal })
  }
}

/** Every partition has all its copies. */
export function isRedundant({ members, partitions, backups }: ClusterDescription, withoutPid?: number): boolean {
  const live = members.filter(({ status }) => status === 'alive' || status === 'joining')
  if (members.some(({ pid, status }) => pid === withoutPid && status === 'alive')) return false
  const wanted = Math.min(backups, live.length - 1)
  const isLive = (node: string): boolean => live.some(({ name }) => name === node)
  return (
    partitions.length > 0 &&
    partitions.every(partition => {
      const copies = partition.backups.filter(({ node, isInSync }) => isInSync && isLive(node))
      return partition.primary !== undefined && isLive(partition.primary.node) && copies.length >= wanted
    })
  )
}
