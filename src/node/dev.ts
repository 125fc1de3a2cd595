/**
 * A development cluster: this process serves the coordinator and watches over one process per node.
 *
 * Owns: the coordinator, the node processes, the stream of events. Does not: print (cli/dev.ts).
 * When this process goes, however it goes, the node processes notice the closed channel and end.
 */
import { EmbeddedCoordinator } from '../coordinator/embedded.ts'
import { serveCoordinator } from '../coordinator/served.ts'
import { type ClusterState, coordinatorKeys } from '../membership/cluster-state.ts'
import { decodeClusterState } from '../membership/cluster-state-codec.ts'
import { type ClusterEvent, clusterEventsBetween } from './cluster-events.ts'
import { DevNode } from './dev-node.ts'
import { backupsOf, memoryShareOf, portsOf } from './one-machine.ts'

export type DevEvent = (ClusterEvent | ProcessEvent) & { /** Milliseconds since the epoch. */ readonly at: number }

type ProcessEvent =
  | { readonly event: 'nodeStarted'; readonly node: string; readonly pid: number; readonly address: string; readonly http: string }
  | {
      readonly event: 'nodeExited'
      readonly node: string
      readonly pid: number
      readonly code: number | null
      readonly signal: string | null
      readonly willReplace: boolean
    }

export interface DevClusterOptions {
  readonly nodes: number
  readonly shards: number
  /** Control port of the first node, the others follow; HTTP is 80 above. 0: any free ports. */
  readonly port: number
  /** A node process that dies is replaced after 2 s. Default: yes. */
  readonly replace?: boolean
  /** Of the node processes; their logs go to standard error. Default: `warn`. */
  readonly logLevel?: string
  /** More flags of `nearstate start` for every node. */
  readonly flags?: readonly string[]
  /** Called once the cluster serves, and for what happens from then on. */
  readonly onEvent?: (event: DevEvent) => void
}

export interface DevClusterNode {
  readonly name: string
  readonly pid: number
  readonly address: string
  readonly http: string
}

export interface DevCluster {
  /** Addresses for clients. */
  readonly endpoints: readonly string[]
  /** What another node is to be told with `nearstate start --coordinator`, so that it joins. */
  readonly coordinator: string
  /** The processes as they are now. */
  readonly nodes: readonly DevClusterNode[]
  /** Ends the node processes, then the coordinator. */
  stop(): Promise<void>
}

const host = '127.0.0.1'

/** Resolves when all nodes serve; rejects with the first node's error, after the others were stopped. */
export async function startDevCluster(options: DevClusterOptions): Promise<DevCluster> {
  const coordinator = new EmbeddedCoordinator()
  const server = await serveCoordinator(coordinator, { host, port: 0 })
  const emit = (event: ClusterEvent | ProcessEvent): void => options.onEvent?.({ ...event, at: Date.now() })
  let isReady = false
  const nodes = Array.from({ length: options.nodes }, (_, index) => {
    return new DevNode({
      name: `node-${index + 1}`,
      ...portsOf(options.port, index),
      flags: nodeFlags(options, `${host}:${server.port}`),
      replace: options.replace ?? true,
      onStarted: ({ name, pid, address, http }) => {
        if (isReady) emit({ event: 'nodeStarted', node: name, pid, address, http })
      },
      onExited: (node, cause) => {
        if (isReady) emit({ event: 'nodeExited', node: node.name, ...cause })
      },
    })
  })
  const watch = followCluster(coordinator, event => isReady && emit(event))
  const stop = async (): Promise<void> => {
    watch.stop()
    await Promise.all(nodes.map(node => node.stop()))
    await server.stop(500)
    await coordinator.close()
  }
  try {
    for (const node of nodes) node.start()
    await Promise.all(nodes.map(node => node.ready))
  } catch (error) {
    await stop()
    throw error
  }
  isReady = true
  return {
    endpoints: nodes.map(node => node.address),
    coordinator: `embedded://${host}:${server.port}`,
    get nodes() {
      return nodes.map(({ name, pid, address, http }) => ({ name, pid, address, http }))
    },
    stop,
  }
}

const nodeFlags = (options: DevClusterOptions, coordinatorAddress: string): readonly string[] => [
  '--host',
  host,
  '--shards',
  String(options.shards),
  '--expected-nodes',
  String(options.nodes),
  '--coordinator',
  `embedded://${coordinatorAddress}`,
  '--log-level',
  options.logLevel ?? 'warn',
  '--memory-max',
  memoryShareOf(options.nodes),
  '--backups',
  String(backupsOf(options.nodes)),
  ...(options.flags ?? []),
]

function followCluster(coordinator: EmbeddedCoordinator, onEvent: (event: ClusterEvent) => void): { stop(): void } {
  let last: ClusterState | undefined
  return coordinator.watch(coordinatorKeys.cluster, {
    onValue: ({ key, value }) => {
      if (key !== coordinatorKeys.cluster) return
      const state = decodeClusterState(value)
      for (const event of clusterEventsBetween(last, state)) onEvent(event)
      last = state
    },
    onDelete: () => {},
  })
}
