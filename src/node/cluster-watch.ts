/** The watches of the cluster state and of the nodes' sessions. */
import type { NodeId } from '../base/ids.ts'
import { type ClusterView, coordinatorKeys } from '../membership/cluster-state.ts'
import { decodeClusterState } from '../membership/cluster-state-codec.ts'
import type { Coordinator } from '../membership/coordinator-port.ts'
import type { MirrorReport } from '../membership/restore-transitions.ts'
import { decodeReport } from './mirror-reports.ts'
import type { SessionValue } from './session-keeper.ts'
import { decodeJson } from './watched-table.ts'

export interface ClusterListener {
  onView(view: ClusterView): void
  /** The cluster state that was there has gone from the coordinator, or an older one has taken its place: somebody wiped it, or restored a backup. */
  onSetBack(): void
  onSession(nodeName: string, node: NodeId): void
  onSessionEnd(nodeName: string): void
  /** What a node found in its durable mirror; undefined: nothing is said any more. */
  onMirrors(nodeName: string, report: MirrorReport | undefined): void
}

/** `caughtUp` resolves when everything that was there at the start has been reported. */
export function watchCluster(coordinator: Coordinator, listener: ClusterListener): { readonly caughtUp: Promise<unknown>; stop(): void } {
  const stateKnown = Promise.withResolvers<void>()
  let lastVersion = 0
  const sessionsKnown = Promise.withResolvers<void>()
  const nameOf = (key: string): string => key.slice(coordinatorKeys.sessionPrefix.length)
  const reporterOf = (key: string): string => key.slice(coordinatorKeys.mirrorsPrefix.length)
  const watches = [
    coordinator.watch(coordinatorKeys.cluster, {
      onValue: ({ key, value, version }) => {
        if (key !== coordinatorKeys.cluster) return
        if (version < lastVersion) listener.onSetBack()
        else {
          lastVersion = version
          listener.onView({ version, state: decodeClusterState(value) })
        }
      },
      onDelete: key => {
        if (key === coordinatorKeys.cluster) listener.onSetBack()
      },
      onCaughtUp: () => stateKnown.resolve(),
    }),
    coordinator.watch(coordinatorKeys.sessionPrefix, {
      onValue: ({ key, value }) => listener.onSession(nameOf(key), decodeJson<SessionValue>(value).id),
      onDelete: key => listener.onSessionEnd(nameOf(key)),
      onCaughtUp: () => sessionsKnown.resolve(),
    }),
    coordinator.watch(coordinatorKeys.mirrorsPrefix, {
      onValue: ({ key, value }) => listener.onMirrors(reporterOf(key), decodeReport(value)),
      onDelete: key => listener.onMirrors(reporterOf(key), undefined),
    }),
  ]
  return {
    caughtUp: Promise.all([stateKnown.promise, sessionsKnown.promise]),
    stop: () => {
      for (const watch of watches) watch.stop()
    },
  }
}
