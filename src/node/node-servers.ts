/** What a node listens on: control and admin over gRPC, health and metrics over HTTP. */
import type { NodeId } from '../base/ids.ts'
import type { Config } from '../config/config.ts'
import { createMetrics } from '../telemetry/metrics.ts'
import { serveGrpc } from '../transport/grpc/server.ts'
import { createAdminService } from './admin-service.ts'
import { bindControlService } from './control-service.ts'
import { startHttpServer } from './http-server.ts'
import { nodeFigures } from './node-figures.ts'
import type { NodeParts } from './node-parts.ts'
import { cannotListen } from './port-in-use.ts'
import type { StopStack } from './stop-stack.ts'

export interface ServersOptions {
  readonly id: NodeId
  readonly config: Config
  readonly coordinator: string
  readonly parts: NodeParts
  readonly notReadyBecause: () => string | undefined
  readonly stops: StopStack
}

const graceMs = 1000
const statsTimeoutMs = 3000

/** host:port of both. UNAVAILABLE naming port and option when one is in use. */
export async function startServers(options: ServersOptions): Promise<{ readonly address: string; readonly http: string }> {
  const { config, parts, stops, notReadyBecause } = options
  const { host } = config
  const services = [adminOf(options), bindControlService(parts.control, parts.driver)]
  const server = await serveGrpc({ host, port: config.port, services, messageMaxBytes: config.messageMaxBytes }).catch(error => {
    throw cannotListen(error, 'control and admin', host, config.port, 'port')
  })
  stops.push(() => server.stop(graceMs))
  const metrics = metricsOf(options)
  stops.push(() => metrics.close())
  const http = await startHttpServer(host, config.httpPort, { notReadyBecause, metrics })
  stops.push(() => http.stop())
  return { address: `${host}:${server.port}`, http: `${host}:${http.port}` }
}

function adminOf({ id, config, coordinator, parts }: ServersOptions): ReturnType<typeof createAdminService> {
  const { cluster, partitions: partitionCount, valueMaxBytes } = config
  return createAdminService({
    ...parts,
    self: id,
    name: config.name,
    around: { cluster, partitionCount, coordinator, valueMaxBytes, backups: config.backups },
    askToLeave: node => parts.driver.askToLeave(node),
    recoverPartitions: async () => {
      const recovered = await parts.driver.recoverPartitions()
      if (recovered > 0) await parts.functions.restoreBundles()
      return recovered
    },
  })
}

const metricsOf = ({ id, config, parts, notReadyBecause }: ServersOptions): ReturnType<typeof createMetrics> =>
  createMetrics(async () =>
    nodeFigures({
      self: id,
      view: parts.feed.view,
      ready: notReadyBecause() === undefined,
      leads: parts.driver.leads,
      shards: await parts.shards.requestAll({ kind: 'stats' }, statsTimeoutMs),
      userCodeStops: parts.watchdog.stopCount,
      backups: config.backups,
      promiseMisses: parts.driver.promiseMisses,
      history: parts.history.counts,
      jobs: parts.driver.leads ? await parts.jobs.list() : [],
      skewOf: job => parts.jobs.skewOf(job),
    }),
  )
