/** What must hold between options: each rule names the values, their origins, and the remedy. */
import { formatByteSize } from '../base/byte-size.ts'
import { invalidArgument } from '../base/errors.ts'
import type { Config } from './config.ts'
import type { Origins } from './load-config.ts'
import { type OptionName, optionTable } from './option-table.ts'

/** What a promise's holder counts less than its giver: drift of clocks, and late timers. */
export const promiseMarginMs = 50

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
  if (config.sliceMaxMs >= config.userCodeTimeLimitMs) refuse(`${shown('sliceMaxMs')}: it must be below ${shown('userCodeTimeLimitMs')}`)
  checkReplication(config, shown, refuse)
  checkEtcd(config, shown, refuse)
  checkPorts(config, shown, refuse)
  const shardBytes = Math.floor(config.memoryMaxBytes / config.shards)
  if (config.valueMaxBytes > shardBytes) {
    refuse(
      `${shown('valueMaxBytes')}: a shard has ${formatByteSize(shardBytes)} (${shown('memoryMaxBytes')} over ${shown('shards')}) and could not hold one such value; lower valueMax or raise memoryMax`,
    )
  }
}

function checkReplication(config: Config, shown: (name: OptionName) => string, refuse: (problem: string) => never): void {
  if (config.userCodeTimeLimitMs >= config.replicaLeaseMs) {
    refuse(`${shown('userCodeTimeLimitMs')}: it must be below ${shown('replicaLeaseMs')}, else a long call looks like a dead node`)
  }
  if (config.replicaLeaseMs >= config.backupTimeoutMs) {
    refuse(
      `${shown('replicaLeaseMs')}: it must be below ${shown('backupTimeoutMs')}, else writes are given up while a backup may still come back in time`,
    )
  }
  if (config.heartbeatMs * 2 > config.replicaLeaseMs - promiseMarginMs) {
    refuse(
      `${shown('heartbeatMs')}: two of them must fit into ${shown('replicaLeaseMs')} less ${promiseMarginMs}ms, else reads stop whenever one is late`,
    )
  }
  if (config.suspicionSilenceMs < config.heartbeatMs * 2) {
    refuse(
      `${shown('suspicionSilenceMs')}: it must be at least twice ${shown('heartbeatMs')}, else a node that is late once is taken for gone`,
    )
  }
  if (config.minInSync > config.backups + 1) {
    refuse(`${shown('minInSync')}: there are never more copies than ${shown('backups')} and the primary; no write would be accepted`)
  }
  if (config.valueMaxBytes > config.replicationLogMaxBytes) {
    refuse(`${shown('valueMaxBytes')}: a change that holds such a value would not fit into ${shown('replicationLogMaxBytes')}`)
  }
}

function checkEtcd(config: Config, shown: (name: OptionName) => string, refuse: (problem: string) => never): void {
  const { coordinator, etcdUser, etcdPasswordFile, etcdCa, etcdCert, etcdKey } = config
  const own = { etcdUser, etcdPasswordFile, etcdCa, etcdCert, etcdKey }
  const given = (Object.keys(own) as (keyof typeof own)[]).filter(name => own[name] !== '')
  const [first] = given
  if (first !== undefined && !coordinator.startsWith('etcd')) refuse(`${shown(first)}: ${shown('coordinator')} is no etcd`)
  const tls = given.find(name => name === 'etcdCa' || name === 'etcdCert' || name === 'etcdKey')
  if (tls !== undefined && !coordinator.startsWith('etcds://'))
    refuse(`${shown(tls)}: it is used with TLS only; write ${shown('coordinator')} with etcds://`)
  if ((etcdCert === '') !== (etcdKey === '')) refuse(`${shown('etcdCert')} and ${shown('etcdKey')} go together; give both or none`)
  if (etcdPasswordFile !== '' && etcdUser === '') refuse(`${shown('etcdPasswordFile')}: give etcdUser too`)
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
