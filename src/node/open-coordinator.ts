/** The coordinator that a configuration names. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { invalidArgument, messageOf, NearstateError } from '../base/errors.ts'
import type { Config } from '../config/config.ts'
import { etcdPasswordVariable } from '../config/etcd-options.ts'
import { connectCoordinator } from '../coordinator/connect-coordinator.ts'
import { CoordinatorFile } from '../coordinator/coordinator-file.ts'
import { EmbeddedCoordinator } from '../coordinator/embedded.ts'
import { connectEtcd } from '../coordinator/etcd/etcd-coordinator.ts'
import type { EtcdAccess } from '../coordinator/etcd/etcd-member.ts'
import { coordinatorKeys } from '../membership/cluster-state.ts'
import type { Coordinator } from '../membership/coordinator-port.ts'
import type { Logger } from '../telemetry/logger.ts'

const servedScheme = 'embedded://'
const etcdScheme = /^etcds?:\/\//

/**
 * `embedded`: in this process, for a cluster of one process. `embedded://host:port`: one that another process serves.
 * `etcd://host:port,...`: an etcd cluster. One that cannot be reached is waited for; one that refuses this node rejects here.
 */
export async function openCoordinator(
  config: Config,
  log: Logger,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Coordinator> {
  const coordinator = connect(config, log, env)
  try {
    await coordinator.read(coordinatorKeys.cluster)
  } catch (error) {
    if (!(error instanceof NearstateError && error.code === 'UNAVAILABLE')) {
      await coordinator.close()
      throw error
    }
    log.warn('the coordinator cannot be reached yet', { coordinator: coordinator.description, reason: error.message })
  }
  return coordinator
}

function connect(config: Config, log: Logger, env: Readonly<Record<string, string | undefined>>): Coordinator {
  const { coordinator: address, cluster } = config
  if (address.startsWith(servedScheme)) return connectCoordinator(address.slice(servedScheme.length))
  if (!etcdScheme.test(address)) return embeddedFor(config)
  return connectEtcd({
    members: address.replace(etcdScheme, '').split(','),
    cluster,
    ...accessOf(config, env),
    onTrouble: ({ what, reason }) =>
      reason === undefined ? log.info(`${what}: works again`) : log.warn(`${what}: does not work now; trying again`, { reason }),
  })
}

/** With a durable mirror the table is kept beside it. */
function embeddedFor({ persistenceDir, name }: Config): EmbeddedCoordinator {
  if (persistenceDir === '') return new EmbeddedCoordinator()
  return new EmbeddedCoordinator({ file: new CoordinatorFile(join(persistenceDir, name, 'coordinator.json')) })
}

function accessOf(config: Config, env: Readonly<Record<string, string | undefined>>): EtcdAccess {
  const { coordinator, etcdUser, etcdPasswordFile, etcdCa, etcdCert, etcdKey } = config
  return {
    credentials: etcdUser === '' ? undefined : { user: etcdUser, password: passwordFor(etcdUser, etcdPasswordFile, env) },
    tls: coordinator.startsWith('etcds://')
      ? { ca: readPem('etcdCa', etcdCa), cert: readPem('etcdCert', etcdCert), key: readPem('etcdKey', etcdKey) }
      : undefined,
  }
}

function passwordFor(user: string, file: string, env: Readonly<Record<string, string | undefined>>): string {
  if (file !== '')
    return readOption('etcdPasswordFile', file)
      .toString('utf8')
      .replace(/\r?\n$/, '')
  const password = env[etcdPasswordVariable]
  if (password === undefined)
    throw invalidArgument(`Cannot use etcdUser ${user}: it has no password; set etcdPasswordFile or ${etcdPasswordVariable}`)
  return password
}

function readPem(option: string, file: string): Buffer | undefined {
  if (file === '') return undefined
  const pem = readOption(option, file)
  if (!pem.includes('-----BEGIN ')) throw invalidArgument(`Cannot use ${option} ${file}: a file in PEM format is wanted`)
  return pem
}

function readOption(option: string, file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (cause) {
    throw new NearstateError('INVALID_ARGUMENT', `Cannot read ${option} ${file}: ${messageOf(cause)}`, { cause })
  }
}
