/** `nearstate/testing`: throw-away clusters for tests. */
export { type ClusterOptions, type RunningCluster, startCluster } from '../node/embed.ts'
