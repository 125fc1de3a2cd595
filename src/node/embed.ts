/** A node, or a whole cluster, inside the caller's process: `nearstate/node`, and the throw-away cluster of `nearstate/testing`. */
import { loadConfig } from '../config/load-config.ts'
import { EmbeddedCoordinator } from '../coordinator/embedded.ts'
import { invalidArgument } from '../base/errors.ts'
import { checkNode } from '../base/node-version.ts'
import { backupsOf, memoryShareOf, portsOf } from './one-machine.ts'
import { type RunningNode, runNode } from './run-node.ts'

/** Options of the configuration table, as in nearstate.yaml: `{ name: 'a', shards: 2, memoryMax: '512mb' }`. */
export type NodeOptions = Readonly<Record<string, string | number | boolean>>

/** Starts a node in this process; resolves when it has joined. `ready` of it resolves when the cluster serves. */
export async function startNode(options: NodeOptions = {}): Promise<RunningNode> {
  checkNode()
  return runNode(configOf(options))
}

export interface ClusterOptions {
  /** Default 1. */
  readonly nodes?: number
  /** Of each node; default 1. */
  readonly shards?: number
  /** Control port of the first node, the others follow; HTTP is 80 above. Default 0: any free ports. */
  readonly port?: number
  /** More options for every node. `backups` is 1 by default, with one node 0. */
  readonly options?: NodeOptions
}

export interface RunningCluster {
  /** Addresses for clients: `connect({ endpoints: cluster.endpoints })`. */
  readonly endpoints: readonly string[]
  readonly nodes: readonly RunningNode[]
  /** Stops all nodes; what they held is gone. */
  stop(): Promise<void>
  /** Same as `stop`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

const nodesMax = 32
/** Nodes that share a thread cannot die apart: who is silent here waits for its turn. */
const patience = { replicaLease: '2s', backupTimeout: '5s', suspicionSilence: '5s' }

/** Starts several nodes in this process, around one coordinator in it; resolves when the cluster serves. For tests and trials. */
export async function startCluster(options: ClusterOptions = {}): Promise<RunningCluster> {
  checkNode()
  const { nodes: count = 1, shards = 1, port = 0 } = options
  if (!Number.isInteger(count) || count < 1 || count > nodesMax) {
    throw invalidArgument(`Cannot start a cluster of ${count} nodes in one process: 1 to ${nodesMax} are wanted`)
  }
  const coordinator = new EmbeddedCoordinator()
  const starts = Array.from({ length: count }, (_, index) =>
    runNode(
      configOf({
        logLevel: 'warn',
        memoryMax: memoryShareOf(count),
        backups: backupsOf(count),
        ...patience,
        ...options.options,
        shards,
        name: `node-${index + 1}`,
        expectedNodes: count,
        ...portsOf(port, index),
      }),
      { coordinator },
    ),
  )
  const outcomes = await Promise.allSettled(starts)
  const nodes = outcomes.flatMap(outcome => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map(node => node.stop({ quietly: true })))
    await coordinator.close()
  }
  const refused = outcomes.find(outcome => outcome.status === 'rejected')
  if (refused !== undefined) {
    await stop()
    throw refused.reason
  }
  await Promise.all(nodes.map(node => node.ready))
  return { endpoints: nodes.map(node => node.address), nodes, stop, [Symbol.asyncDispose]: stop }
}

const configOf = (options: NodeOptions) => loadConfig({ env: {}, flags: options }).config
