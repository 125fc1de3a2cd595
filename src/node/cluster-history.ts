/** What this node has seen happen to the cluster since it started, counted. */
import type { ClusterState } from '../membership/cluster-state.ts'
import { clusterEventsBetween } from './cluster-events.ts'

export interface HistoryCounts {
  /** Partitions whose backup was promoted. */
  readonly failovers: number
  /** Partitions whose primary was handed over. */
  readonly handOvers: number
  /** Copies that were built. */
  readonly migrations: number
}

export class ClusterHistory {
  #last: ClusterState | undefined
  #failovers = 0
  #handOvers = 0
  #migrations = 0

  get counts(): HistoryCounts {
    return { failovers: this.#failovers, handOvers: this.#handOvers, migrations: this.#migrations }
  }

  handleState(state: ClusterState): void {
    for (const event of clusterEventsBetween(this.#last, state)) {
      if (event.event === 'failover') this.#failovers += event.partitions
      if (event.event === 'partitionsHandedOver') this.#handOvers += event.partitions
    }
    this.#migrations += builtCount(this.#last, state)
    this.#last = state
  }
}

/** Replicas in sync now that were being filled before. */
function builtCount(before: ClusterState | undefined, after: ClusterState): number {
  let built = 0
  for (const [partition, { backups, inSync }] of (before?.partitions ?? []).entries()) {
    const now = after.partitions[partition]?.inSync ?? []
    for (const { shard } of backups) {
      if (!inSync.some(replica => replica.shard === shard) && now.some(replica => replica.shard === shard)) built += 1
    }
  }
  return built
}
