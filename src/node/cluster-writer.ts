/** Reads and compares-and-sets the cluster state in the coordinator. */
import { isAborted } from '../base/abort.ts'
import { NearstateError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { type ClusterState, type ClusterView, coordinatorKeys } from '../membership/cluster-state.ts'
import { decodeClusterState, encodeClusterState } from '../membership/cluster-state-codec.ts'
import type { Coordinator } from '../membership/coordinator-port.ts'
import { emptyCluster } from '../membership/transitions.ts'
import { pause } from './pause.ts'

export interface ClusterWriterOptions {
  readonly coordinator: Coordinator
  readonly cluster: string
  readonly partitionCount: number
  readonly random: Random
}

const neverAborted = new AbortController().signal
const attemptsMax = 100
/** After losing a race: whoever won is not met again at once. */
const conflictPauseMaxMs = 50

export class ClusterWriter {
  readonly #options: ClusterWriterOptions

  constructor(options: ClusterWriterOptions) {
    this.#options = options
  }

  /** undefined: somebody else was first. Rejects with UNAVAILABLE when the outcome is unknown. */
  async write(expectedVersion: number, state: ClusterState): Promise<ClusterView | undefined> {
    const outcome = await this.#options.coordinator.compareAndSet(coordinatorKeys.cluster, expectedVersion, encodeClusterState(state))
    return outcome.kind === 'done' ? { version: outcome.version, state } : undefined
  }

  /**
   * One change, tried again while others are faster; answers the state that is there then. `change` answers the same object for
   * "nothing to do", and may throw to refuse.
   */
  async update(action: string, change: (state: ClusterState) => ClusterState, signal: AbortSignal = neverAborted): Promise<ClusterView> {
    const { coordinator, cluster, partitionCount, random } = this.#options
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      if (isAborted(signal)) break
      const stored = await coordinator.read(coordinatorKeys.cluster)
      const state = stored === undefined ? emptyCluster(cluster, partitionCount) : decodeClusterState(stored.value)
      const next = change(state)
      if (next === state && stored !== undefined) return { version: stored.version, state }
      const written = await this.write(stored?.version ?? 0, next)
      if (written !== undefined) return written
      await pause(random.next() * conflictPauseMaxMs)
    }
    throw new NearstateError('UNAVAILABLE', `Cannot ${action}: every attempt met another change of the cluster state`)
  }
}
