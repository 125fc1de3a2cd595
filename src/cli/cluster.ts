/** `nearstate status`, `nodes`, `nodes leave`, `partitions` and `partitions recover`. */
import { styleText } from 'node:util'
import type { Command } from 'commander'
import { formatByteSize } from '../base/byte-size.ts'
import { formatDuration } from '../base/duration.ts'
import { NearstateError } from '../base/errors.ts'
import type { Grid } from '../client/grid.ts'
import { globalOptions, withGrid } from './cluster-access.ts'
import { leaveReport, nodesReport, partitionsReport, type StatusReport, statusReport } from './cluster-reports.ts'
import { printJson, printLine, printTable, progressBar } from './output.ts'

export function registerCluster(program: Command): void {
  program
    .command('status')
    .description('the cluster at a glance')
    .action((_options, command: Command) => status(command))
  const nodesCommand = program.command('nodes').description('the members, where they listen and what they hold')
  nodesCommand.action((_options, command: Command) => nodes(command))
  nodesCommand
    .command('leave')
    .argument('<name>', 'of the node')
    .description('move everything off a node, which then ends; waits until it has left')
    .action((name: string, _options, command: Command) => leave(name, command))
  const partitionsCommand = program.command('partitions').description('which shards hold which partition, and how far copies are')
  partitionsCommand.action((_options, command: Command) => partitions(command))
  partitionsCommand
    .command('recover')
    .description('give up the data of all partitions that no node within reach holds: they serve again, empty')
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
        `${partitions.total}, ${partitions.lost} lost, ${partitions.unavailable} unavailable, ${partitions.underReplicated} under-replicated, ${partitions.migrating} migrating`,
      ],
      ['entries', report.entries],
      ['memory', formatByteSize(report.bytes)],
    ],
  )
  if (partitions.lost > 0) printLine('Lost partitions refuse to serve. "nearstate partitions recover --accept-loss" gives their data up.')
  else if (partitions.unavailable > 0) {
    printLine(
      'Unavailable partitions wait for a node that is out of reach. If it is gone for good: "nearstate partitions recover --accept-loss".',
    )
  }
}

const colouredState = (state: StatusReport['state']): string =>
  styleText(state === 'healthy' ? 'green' : state === 'degraded' ? 'yellow' : 'red', state, { stream: process.stdout })

async function nodes(command: Command): Promise<void> {
  const options = globalOptions(command)
  const report = await withGrid(options, async grid => nodesReport(grid.cluster.describe(), await grid.cluster.stats()))
  if (options.json) return printJson(report)
  printTable(
    ['name', 'status', 'pid', 'address', 'http', 'zone', 'shards', 'primaries', 'backups', 'entries', 'memory', 'up'],
    report.map(node => [
      node.name,
      node.status,
      node.pid,
      node.address,
      node.http,
      node.zone,
      node.shards,
      node.primaries,
      node.backups,
      node.entries,
      formatByteSize(node.bytes),
      formatDuration(Date.now() - node.startedAt),
    ]),
  )
}

async function partitions(command: Command): Promise<void> {
  const options = globalOptions(command)
  const report = await withGrid(options, async grid => partitionsReport(grid.cluster.describe(), await grid.cluster.stats()))
  if (options.json) return printJson(report)
  printTable(
    ['partition', 'epoch', 'primary', 'backups in sync', 'being filled'],
    report.map(({ partition, epoch, primary, inSync, migration }) => [
      partition,
      epoch,
      primary === null ? 'lost' : placeText(primary),
      inSync.slice(1).map(placeText).join(', '),
      migration === undefined ? '' : `${placeText(migration.to)} ${Math.floor(migration.progress * 100)} %`,
    ]),
  )
}

const placeText = ({ node, shard }: { readonly node: string; readonly shard: number }): string => `${node}/${shard}`

async function leave(name: string, command: Command): Promise<void> {
  const options = globalOptions(command)
  await withGrid(options, async grid => {
    const id = grid.cluster.describe().members.find(member => member.name === name && member.status !== 'dead')?.id
    const changed = nextChange(grid)
    await grid.cluster.leaveNode(name)
    const progress = progressBar(options.json)
    let atFirst = 0
    for (let first = true; ; first = false) {
      const report = leaveReport(grid.cluster.describe(), id ?? '')
      atFirst = Math.max(atFirst, report.copies)
      progress.show(
        atFirst === 0 ? 1 : 1 - report.copies / atFirst,
        `${report.primaries} primaries to hand over, ${report.copies} copies to move`,
      )
      if (report.isGone && !first) break
      await changed()
    }
    progress.end()
  })
  if (options.json) printJson({ left: name })
  else printLine(`${name} has left.`)
}

/** Resolves at the next change of the cluster, or after a second. */
function nextChange(grid: Grid): () => Promise<void> {
  let wake = (): void => {}
  grid.cluster.on('change', () => wake())
  return () =>
    new Promise(resolve => {
      const timer = setTimeout(resolve, 1000)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
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
  else printLine(recovered === 0 ? 'Every partition is served.' : `${recovered} partitions serve again, empty.`)
}
