/** The durable mirror of this node, as its configuration wants it. */
import type { Config } from '../config/config.ts'
import { fsyncSentence } from '../durability/fsync-modes.ts'
import { claimMirrorDirectory } from '../durability/mirror-directory.ts'
import type { ShardPersistence } from '../shard/protocol.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { StopStack } from './stop-stack.ts'

/** Takes the node's directory until the node has stopped. undefined: nothing is kept on disk. */
export function openPersistence(config: Config, stops: StopStack, log: Logger): ((shard: number) => ShardPersistence) | undefined {
  const { persistenceDir, persistenceFsync: fsync, persistenceIntervalMs: intervalMs, cluster, name, partitions, shards, backups } = config
  if (persistenceDir === '') return undefined
  const directory = claimMirrorDirectory(persistenceDir, name)
  stops.push(() => directory.release())
  log.info(`keeps a durable mirror in ${directory.path}; ${fsyncSentence(fsync, intervalMs)}`, { fsync })
  return shard => ({
    ...directory.filesOf(shard, shards),
    identity: { cluster, node: name, partitions },
    fsync,
    intervalMs,
    copies: backups + 1,
  })
}
