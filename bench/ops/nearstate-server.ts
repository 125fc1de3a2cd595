/** The server's process: one node with one shard. */
import { startCluster } from '../../src/node/embed.ts'
import { serveSide } from '../rounds.ts'

serveSide({
  start: async () => {
    const cluster = await startCluster({ nodes: 1, shards: 1 })
    return { endpoint: cluster.endpoints[0] }
  },
})
