/** `nearstate job logs`: what a job's code and the engine say about it, from all nodes. */
import { styleText } from 'node:util'
import type { Command } from 'commander'
import type { JobLogEntry } from '../client/job-logs.ts'
import { wholeNumber } from './arguments.ts'
import { globalOptions, withGrid } from './cluster-access.ts'
import { framesOf, printJson, printLine } from './output.ts'

export function registerJobLogs(job: Command): void {
  job
    .command('logs <name>')
    .description("a job's log: log stages, its console, rows that failed, attempts, failures")
    .option('-f, --follow', 'go on with what comes, until the job has ended')
    .option('--limit <n>', 'of what is there the latest so many lines', wholeNumber('--limit', 0, 1_000_000), 1000)
    .action((name: string, flags: { follow?: boolean; limit: number }, command: Command) => logs(name, flags, command))
}

async function logs(name: string, flags: { readonly follow?: boolean; readonly limit: number }, command: Command): Promise<void> {
  const options = globalOptions(command)
  const interrupted = new AbortController()
  const { signal } = interrupted
  const onSignal = (): void => interrupted.abort()
  process.once('SIGINT', onSignal)
  try {
    await withGrid(options, async grid => {
      for await (const entry of grid.jobs.get(name).logs({ follow: flags.follow === true, limit: flags.limit, signal })) {
        if (options.json) printJson(entry)
        else printEntry(entry)
      }
    })
  } catch (thrown) {
    if (!signal.aborted) throw thrown
  } finally {
    process.off('SIGINT', onSignal)
  }
}

const colours = { info: 'cyan', warn: 'yellow', error: 'red' } as const

function printEntry({ time, node, shard, level, stage, message, stack }: JobLogEntry): void {
  const at = new Date(time).toISOString().replace('T', ' ').slice(0, 23)
  const coloured = styleText(colours[level], level.padEnd(5), { stream: process.stdout })
  const place = shard === undefined ? node : `${node}/${shard}`
  printLine([at, coloured, place, ...(stage === undefined ? [] : [`[${stage}]`]), message].join('  '))
  for (const frame of framesOf(stack)) printLine(frame)
}
