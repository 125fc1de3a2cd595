/** After calm weather everything is whole again: every partition is served with all its copies, and calls are answered. */
import type { ClusterView } from '../../../src/membership/cluster-state.ts'
import type { History } from '../history.ts'
import type { Report, World } from './checker.ts'

const lastMs = 4000

export function checkSettled(world: World, view: ClusterView | undefined, history: History, endMs: number, report: Report): void {
  const at = (text: string): void => report({ invariant: 'settled', atMs: endMs, text })
  if (view === undefined) return at('there is no table')
  const answered = new Set(
    history.calls
      .filter(call => call.answer !== undefined && call.calledAtMs > endMs - lastMs && call.operation.kind !== 'giveUp')
      .map(({ partition }) => partition),
  )
  const alive = view.state.members.filter(({ status, shards }) => status === 'alive' && shards.some(({ id }) => world.isAlive(id))).length
  const wanted = Math.min(world.backups + 1, alive)
  for (const [partition, { primary, inSync }] of view.state.partitions.entries()) {
    const copies = inSync.filter(({ shard }) => world.isAlive(shard)).length
    if (primary === undefined) at(`partition ${partition} is lost`)
    else if (copies < wanted) at(`partition ${partition} has ${copies} live in-sync copies, ${wanted} are wanted`)
    const zoneOf = (node: string): string => view.state.members.find(({ id }) => id === node)?.zone ?? ''
    const zonesAlive = new Set(view.state.members.filter(({ status }) => status === 'alive').map(({ zone }) => zone))
    const zonesHeld = new Set(inSync.map(({ node }) => zoneOf(node)))
    if (!zonesAlive.has('') && zonesHeld.size < Math.min(wanted, zonesAlive.size))
      at(`partition ${partition} has copies in ${zonesHeld.size} zones, ${Math.min(wanted, zonesAlive.size)} are wanted`)
    if (!answered.has(partition)) at(`partition ${partition} has answered no call in the last ${lastMs} ms`)
  }
}
