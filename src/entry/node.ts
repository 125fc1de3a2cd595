/** `nearstate/node`: embed a node, or a whole cluster, in a process. */
export { NearstateError } from '../base/errors.ts'
export { type ClusterOptions, type NodeOptions, type RunningCluster, startCluster, startNode } from '../node/embed.ts'
export type { RunningNode } from '../node/run-node.ts'
