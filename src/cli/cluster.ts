/** `nearstate status`, `nodes`, `partitions` and `partitions recover`. */
import { styleText } from 'node:util'
import type { Command } from 'commander'
import { formatByteSize } from '../base/byte-size.ts'
import { formatDuration } from '../base/duration.ts'
import { NearstateError } from '../base/errors.ts'
import { globalOptions, withGrid } from './cluster-access.ts'
import { nodesReport, partitionsReport, type StatusReport, statusReport } from './cluster-reports.ts'
import { printJson, printLine, printTable } from './output.ts'

export function registerCluster(program: Command): void {
  program
    .command('status')
    .description('the cluster at a glance')
    .action((_options, command: Command) => status(command))
  program
    .command('nodes')
    .description('the members, where they listen and what they hold')
    .action((_options, command: Command) => nodes(command))
  const partitionsCommand = program.command('partitions').description('which shard serves which partition')
  partitionsCommand.action((_options, command: Command) => partitions(command))
  partitionsCommand
    .command('recover')
    .description('give up the data of all lost partitions: they serve again, empty')
    .option('--accept-loss', 'yes, what they held is gone for good')
    .action((options: { acceptLoss?: boolean }, command: Command) => recover(options, command))
}

async function status(command: Command): Promise<void> {
  const options = globalOptions(command)
  const report = await withGrid(options, async grid => statusReport(grid.cluster.describe(), await grid.cluster.stats()))
  if (options.json) return printJson(report)
  const { partitions } = report
  printTable(
    ['cluster', report.cluster],
    [
      ['state', colouredState(report.state)],
      ['version', report.version],
      ['nodes', report.nodes],
      ['leader', report.leader ?? 'none yet'],
      ['coordinator', report.coordinator],
      [
        'partitions',
        `${partitions.total}, ${partitions.lost} lost, ${partitions.underReplicated} under-replicated, ${partitions.migrating} migrating`,
      ],
      ['entries', report.entries],
      ['memory', formatByteSize(report.bytes)],
    ],
  )
  if (partitions.lost > 0) printLine('Lost partitions refuse to serve. "nearstate partitions recover --accept-loss" gives their data up.')
}

const colouredState = (state: StatusReport['state']): string =>
  styleText(state === 'healthy' ? 'green' : state === 'degraded' ? 'yellow' : 'red', state, { stream: process.stdout })

async function nodes(command: Command): Promise<void> {
  const options = globalOptions(command)
  const report = await withGrid(options, async grid => nodesReport(grid.cluster.describe(), await grid.cluster.stats()))
  if (options.json) return printJson(report)
  printTable(
    ['name', 'status', 'pid', 'address', 'http', 'zone', 'shards', 'primaries', 'entries', 'memory', 'up'],
    report.map(node => [
      node.name,
      node.status,
      node.pid,
      node.address,
      node.http,
      node.zone,
      node.shards,
      node.primaries,
      node.entries,
      formatByteSize(node.bytes),
      formatDuration(Date.now() - node.startedAt),
    ]),
  )
}

async function partitions(command: Command): Promise<void> {
  const options = globalOptions(command)
  const report = await withGrid(options, async grid => partitionsReport(grid.cluster.describe()))
  if (options.json) return printJson(report)
  printTable(
    ['partition', 'epoch', 'primary', 'shard'],
    report.map(({ partition, epoch, primary }) => [partition, epoch, primary?.node ?? 'lost', primary?.shard ?? '']),
  )
}

async function recover({ acceptLoss }: { acceptLoss?: boolean }, command: Command): Promise<void> {
  const options = globalOptions(command)
  if (acceptLoss !== true) {
    throw new NearstateError(
      'INVALID_ARGUMENT',
      'Cannot recover lost partitions without --accept-loss: their data is gone for good, and they serve again empty',
    )
  }
  const recovered = await withGrid(options, grid => grid.cluster.recoverPartitions({ acceptLoss }))
  if (options.json) printJson({ recovered })
  else printLine(recovered === 0 ? 'No partition is lost.' : `${recovered} partitions serve again, empty.`)
}
