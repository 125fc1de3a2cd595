/** What must hold between options: each rule names the values, their origins, and the remedy. */
import { formatByteSize } from '../base/byte-size.ts'
import { invalidArgument } from '../base/errors.ts'
import type { Config } from './config.ts'
import type { Origins } from './load-config.ts'
import { type OptionName, optionTable } from './option-table.ts'

/** A replica's promise not to act as primary (protocols.md section 3); below the second of silence after which a backup is taken out. */
const leaseMs = 600

const wildcards: readonly string[] = ['0.0.0.0', '::', '0']
const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)

export function checkRelations(config: Config, origins: Origins): void {
  const shown = (name: OptionName): string => {
    const { source, text } = origins[name]
    return `${optionTable[name].key} ${text} (from ${source})`
  }
  const refuse = (problem: string): never => {
    throw invalidArgument(`Cannot use this configuration: ${problem}`)
  }
  if (config.backups > 0) {
    refuse(`${shown('backups')}: this release keeps one copy of each partition, replication is not built yet; set backups to 0`)
  }
  if (wildcards.includes(config.host)) {
    refuse(
      `${shown('host')}: other nodes and clients are told this address, so it must be one that they can reach; give the address or name of this machine`,
    )
  }
  if (!isLoopback(config.host) && !config.insecure) {
    refuse(
      `${shown('host')}: other machines could reach this node without encryption and authentication; bind to 127.0.0.1, or set insecure to true if the network is trusted`,
    )
  }
  if (config.userCodeTimeLimitMs >= leaseMs) {
    refuse(`${shown('userCodeTimeLimitMs')}: it must be below the lease of ${leaseMs} ms, else a long call looks like a dead node`)
  }
  if (config.sliceMaxMs >= config.userCodeTimeLimitMs) refuse(`${shown('sliceMaxMs')}: it must be below ${shown('userCodeTimeLimitMs')}`)
  checkPorts(config, shown, refuse)
  const shardBytes = Math.floor(config.memoryMaxBytes / config.shards)
  if (config.valueMaxBytes > shardBytes) {
    refuse(
      `${shown('valueMaxBytes')}: a shard has ${formatByteSize(shardBytes)} (${shown('memoryMaxBytes')} over ${shown('shards')}) and could not hold one such value; lower valueMax or raise memoryMax`,
    )
  }
}

function checkPorts(config: Config, shown: (name: OptionName) => string, refuse: (problem: string) => never): void {
  const { port, httpPort, shardPortBase, shards } = config
  if (port !== 0 && port === httpPort) refuse(`${shown('port')} and ${shown('httpPort')} are the same; give them different ports`)
  if (shardPortBase === 0) return
  const last = shardPortBase + shards - 1
  if (last > 65_535) refuse(`${shown('shardPortBase')}: ${shown('shards')} would take ports up to ${last}; the last port is 65535`)
  for (const name of ['port', 'httpPort'] as const) {
    if (config[name] >= shardPortBase && config[name] <= last) {
      refuse(`${shown(name)} lies in the ports ${shardPortBase} to ${last} of the shards (${shown('shardPortBase')}); move one of them`)
    }
  }
}
