/**
 * `nearstate demo`: a cluster on this machine, the retail-360 job over it, readers meanwhile, a summary.
 * Owns: the order of things, and that nothing is left running however it ends.
 */
import { readdir, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Command, Option } from 'commander'
import { formatDuration } from '../base/duration.ts'
import { NearstateError } from '../base/errors.ts'
import { connect } from '../client/connect.ts'
import type { Grid } from '../client/grid.ts'
import type { JobStatus } from '../client/jobs.ts'
import type { DevCluster } from '../node/dev.ts'
import { wholeNumber } from './arguments.ts'
import { isRedundant, killLast, killUnderLoad, nothingKilled } from './demo-fault.ts'
import { retailFigures } from './demo-figures.ts'
import { Readers } from './demo-readers.ts'
import { counted, type DemoResult, ProgressLine, progressText, summaryText } from './demo-summary.ts'
import { isTerminal, printJson, printLine } from './output.ts'

interface DemoOptions {
  readonly data?: string
  readonly nodes: number
  readonly shards: number
  readonly seed?: number
  readonly lines?: number
  readonly rate?: number
  readonly keep?: boolean
  readonly json?: boolean
}

/** Beside `src` in a checkout and beside `dist` in the package. */
const jobFile = fileURLToPath(new URL('../../examples/retail-360/job.ts', import.meta.url))
const generated = { seed: 1, lines: 200_000, rate: 25_000 }

export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('run a cluster here with the retail-360 job: orders in, live customer profiles out')
    .addOption(
      new Option('--data <dir>', 'replay the Online Retail CSV files of a folder (plain or gzip), instead of generated orders').conflicts([
        'seed',
        'lines',
        'rate',
      ]),
    )
    .addOption(new Option('--nodes <n>', 'node processes').default(3).argParser(wholeNumber('--nodes', 1, 16)))
    .addOption(new Option('--shards <n>', 'shards of each node').default(1).argParser(wholeNumber('--shards', 1, 64)))
    .addOption(
      new Option('--seed <n>', `generated orders: the seed (default: ${generated.seed})`).argParser(wholeNumber('--seed', 1, 2 ** 31 - 1)),
    )
    .addOption(
      new Option('--lines <n>', `generated orders: how many lines (default: ${generated.lines})`).argParser(wholeNumber('--lines', 1, 1e9)),
    )
    .addOption(
      new Option('--rate <n>', `generated orders: lines a second (default: ${generated.rate})`).argParser(wholeNumber('--rate', 1, 1e8)),
    )
    .option('--keep', 'leave the cluster up until Ctrl-C')
    .action(async (_: unknown, command: Command) => runDemo(command.optsWithGlobals<DemoOptions>()))
}

async function runDemo(options: DemoOptions): Promise<void> {
  const args = await jobArguments(options)
  const { startDevCluster } = await import('../node/dev.ts')
  const interrupted = new AbortController()
  const onSignal = (): void => interrupted.abort()
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  try {
    tellPhase(options, `Starting ${counted(options.nodes, 'node')} with ${counted(options.shards, 'shard')} each ...`)
    // Nodes that stop one after the other warn of each other: true, and of no use here.
    const cluster = await startDevCluster({ nodes: options.nodes, shards: options.shards, port: 0, logLevel: 'error' })
    try {
      interrupted.signal.throwIfAborted()
      const grid = await connect({ endpoints: cluster.endpoints })
      try {
        await present(options, cluster, grid, args, interrupted.signal)
      } finally {
        await grid.close()
      }
      if (options.keep === true) await keepUp(options, cluster, interrupted.signal)
    } finally {
      await cluster.stop()
    }
  } catch (thrown) {
    if (!interrupted.signal.aborted) throw thrown
    process.exitCode = 130
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
  }
}

async function jobArguments({ data, seed, lines, rate }: DemoOptions): Promise<object> {
  if (data === undefined) {
    return { orders: { seed: seed ?? generated.seed, count: lines ?? generated.lines, ratePerSecond: rate ?? generated.rate } }
  }
  await checkData(data)
  return { data: resolve(data) }
}

/** What is wrong with the data is said before nodes are started for it; patterns are the job's to resolve. */
async function checkData(data: string): Promise<void> {
  const path = resolve(data)
  const found = await stat(path).catch(() => undefined)
  if (found === undefined && !/[*?[\]{}]/.test(data)) throw new NearstateError('NOT_FOUND', `Cannot replay --data: there is no "${path}"`)
  if (found?.isDirectory() === true && !(await readdir(path)).some(name => /\.csv(\.gz)?$/i.test(name)))
    throw new NearstateError('NOT_FOUND', `Cannot replay --data: folder "${path}" holds no *.csv or *.csv.gz`)
}

/** Where standard output is read by a program, people see on standard error how far it is; with --json only a terminal shows it. */
function tellPhase({ json }: DemoOptions, text: string): void {
  if (json !== true && isTerminal()) printLine(text)
  else if (json !== true || process.stderr.isTTY) process.stderr.write(`${text}\n`)
}

/** Runs the job with readers beside it, kills a node meanwhile and another one under load behind it, and prints what came of it. */
async function present(options: DemoOptions, cluster: DevCluster, grid: Grid, args: object, signal: AbortSignal): Promise<void> {
  const isHuman = options.json !== true
  const progress = new ProgressLine(isHuman && isTerminal())
  const readers = new Readers(grid)
  try {
    const job = await grid.jobs.submit(jobFile, { args, checkpointInterval: '250ms', timeout: '60s', signal })
    const startedAt = performance.now()
    tellPhase(options, `Job "${job.name}" runs on every shard; readers ask for profiles meanwhile.`)
    readers.start()
    let replayKilled: string | null = null
    const ended = await job.ended({
      signal,
      onStatus: status => {
        if (options.nodes > 1 && replayKilled === null && canGoOn(status) && isRedundant(grid.cluster.describe())) {
          replayKilled = killLast(cluster).name
          progress.clear()
          tellPhase(options, `Killed ${replayKilled}; the job goes on from its last checkpoint.`)
        }
        const readP99Ms = readers.latencyMs.percentile(0.99)
        const seconds = (performance.now() - startedAt) / 1000
        progress.show(progressText({ lines: linesIn(status), seconds, reads: readers.latencyMs.count, readP99Ms }))
      },
    })
    const ranMs = performance.now() - startedAt
    progress.clear()
    if (ended.status !== 'completed')
      throw new NearstateError('FUNCTION_FAILED', `The job has ${ended.status}: ${ended.failure ?? 'no reason was given'}`)
    await readers.stop()
    tellPhase(options, `All of it is processed, in ${formatDuration(ranMs)}; now the figures are read from the grid.`)
    const figures = await retailFigures(grid)
    const { latencyMs } = readers
    if (options.nodes > 1) tellPhase(options, 'The job is done. Now a node is killed, under reads and writes of four clients ...')
    const fault = options.nodes > 1 ? await killUnderLoad(cluster, signal) : nothingKilled
    const result: DemoResult = {
      ...figures,
      nodes: options.nodes,
      shards: options.shards,
      eventsPerSecond: Math.round((figures.lines / ranMs) * 1000),
      reads: latencyMs.count,
      readP50Ms: rounded(latencyMs.percentile(0.5)),
      readP99Ms: rounded(latencyMs.percentile(0.99)),
      replayKilled,
      checkpoints: ended.checkpoints,
      restarts: ended.restarts,
      ...fault,
      console: null,
    }
    if (isHuman) printLine(summaryText(result, ranMs))
    else printJson(result)
  } finally {
    progress.clear()
    readers.abandon()
  }
}

async function keepUp(options: DemoOptions, cluster: DevCluster, signal: AbortSignal): Promise<void> {
  if (options.json !== true) {
    const [endpoint = ''] = cluster.endpoints
    printLine(`The cluster stays up. Ask it in another terminal, and stop it here with Ctrl-C:`)
    printLine(`  nearstate map get profiles 14646 --endpoint ${endpoint}`)
    printLine(`  nearstate job show retail-360 --endpoint ${endpoint}`)
  }
  if (signal.aborted) return
  await new Promise<void>(stop => signal.addEventListener('abort', () => stop(), { once: true }))
}

/** It has something to lose, and a checkpoint behind the first, which holds nothing yet. */
const canGoOn = (status: JobStatus): boolean => status.status === 'running' && status.checkpoints >= 2 && linesIn(status) > 0
const linesIn = (status: JobStatus): number => status.stages.find(stage => stage.kind === 'source')?.rowsOut ?? 0
const rounded = (ms: number): number => Math.round(ms * 1000) / 1000
