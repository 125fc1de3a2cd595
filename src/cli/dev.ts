/** `nearstate dev`: a local cluster, one process per node, until Ctrl-C. */
import { styleText } from 'node:util'
import { type Command, Option } from 'commander'
import type { DevCluster, DevEvent } from '../node/dev.ts'
import { wholeNumber } from './arguments.ts'
import { globalOptions } from './cluster-access.ts'
import { printJson, printLine, printTable } from './output.ts'

interface DevFlags {
  readonly nodes: number
  readonly shards: number
  readonly port: number
  readonly replace: boolean
  readonly logLevel: string
}

export function registerDev(program: Command): void {
  program
    .command('dev')
    .description('a local cluster, one process per node; Ctrl-C stops it')
    .addOption(new Option('--nodes <count>', 'node processes').default(3).argParser(wholeNumber('--nodes', 1, 32)))
    .addOption(new Option('--shards <count>', 'shards of each node').default(1).argParser(wholeNumber('--shards', 1, 64)))
    .addOption(
      new Option('--port <port>', 'control port of the first node, the others follow; HTTP is 80 above; 0: any free ports')
        .default(7400)
        .argParser(wholeNumber('--port', 0, 65_535)),
    )
    .option('--no-replace', 'leave a node process that died dead')
    .option('--log-level <level>', 'of the nodes: debug, info, warn, error or silent', 'warn')
    .action((flags: DevFlags, command: Command) => dev(flags, command))
}

async function dev(flags: DevFlags, command: Command): Promise<void> {
  const { json } = globalOptions(command)
  const [{ startDevCluster }, { impatience }] = await Promise.all([import('../node/dev.ts'), import('../node/impatience.ts')])
  const stopped = Promise.withResolvers<void>()
  let cluster: DevCluster | undefined
  let stopping = false
  const isImpatient = impatience()
  const stop = (): void => {
    if (cluster === undefined || isImpatient()) process.exit(stopping ? 1 : 0) // the node processes notice
    if (stopping) return
    stopping = true
    if (!json) printLine('\nStopping.')
    void cluster.stop().then(stopped.resolve, stopped.reject)
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  cluster = await startDevCluster({
    ...flags,
    onEvent: event => {
      if (json) printJson(event)
      // Many, one after the other, between the begin of a migration and its end.
      else if (event.event !== 'partitionsHandedOver') printLine(describeEvent(event))
    },
  })
  if (json) printJson({ ready: true, endpoints: cluster.endpoints, console: null, nodes: cluster.nodes })
  else printReady(cluster)
  await stopped.promise
  // Nothing is left to do; a signal handler must not keep the process.
  process.exit(0)
}

function printReady(cluster: DevCluster): void {
  printTable(
    ['node', 'pid', 'endpoint', 'http'],
    cluster.nodes.map(node => [node.name, node.pid, node.address, `http://${node.http}`]),
  )
  printLine(
    `${styleText('green', 'Ready.', { stream: process.stdout })} Endpoints: ${cluster.endpoints.join(', ')}. Ctrl-C stops the cluster.`,
  )
}

export function describeEvent(event: DevEvent): string {
  const time = new Date(event.at).toISOString().slice(11, 19)
  return `${time}  ${sentenceOf(event)}`
}

function sentenceOf(event: DevEvent): string {
  switch (event.event) {
    case 'nodeStarted':
      return `${event.node} serves again (pid ${event.pid}, ${event.address})`
    case 'nodeExited':
      return `${event.node} (pid ${event.pid}) has ended (${event.signal ?? `exit code ${event.code}`})${event.willReplace ? '; a fresh process replaces it in a moment' : ''}`
    case 'nodeJoined':
      return `${event.node} has joined`
    case 'nodeDead':
      return `${event.node} (${event.id}) is dead`
    case 'nodeSuspected':
      return `${event.node} is out of reach`
    case 'nodeReturned':
      return `${event.node} is back`
    case 'nodeLeaving':
      return `${event.node} is leaving: what it holds moves to others`
    case 'failover':
      return `${event.partitions} partitions of ${event.node} are taken over by their backups`
    case 'partitionsHandedOver':
      return `${event.partitions} partitions were handed over`
    case 'migrationBegun':
      return 'copies of partitions are being built'
    case 'migrationDone':
      return 'all copies are built'
    case 'partitionsUnavailable':
      return `${event.partitions} partitions are unavailable: no copy of them is within reach`
    case 'nodeLeft':
      return `${event.node} has left`
    case 'leaderChanged':
      return `the leader is ${event.leader ?? 'nobody'}`
    case 'partitionsAssigned':
      return `${event.partitions} partitions are assigned`
    case 'partitionsLost':
      return `${event.partitions} partitions are lost; "nearstate partitions recover --accept-loss" gives their data up`
    case 'partitionsRecovered':
      return `${event.partitions} partitions serve again, empty`
  }
}
