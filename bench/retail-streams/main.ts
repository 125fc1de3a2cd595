/** `npm run retail-streams -- --data DIR ...`: one job with five results over the Online Retail lines, on a cluster of its own. */
import { styleText } from 'node:util'
import { parseArgs } from 'node:util'
import { formatDuration, parseDuration } from '../../src/base/duration.ts'
import { NearstateError } from '../../src/base/errors.ts'
import { listFiles } from '../../src/connectors/files/file-list.ts'
import { linesIn, type RunOptions, type RunReport, runRetailStreams } from './run.ts'

const usage = `Usage: npm run retail-streams -- --data DIR [--nodes K] [--shards S] [--disorder 1d] [--kill-after 2s] [--json]

  --data DIR         a folder of Online Retail CSV files (plain or gzip), a file, or a glob
  --nodes K          node processes (default 3)
  --shards S         shards of each node (default 1)
  --disorder 1d      how much earlier than the latest line before it in its file a line may be
  --kill-after 2s    a node is killed so long after the job has begun, and the lines last longer than twice that long
  --json             the last line is one object with all results; the line before it tells of the run`

interface Options {
  readonly data: string
  readonly nodes: number
  readonly shards: number
  readonly disorderMs: number
  readonly killAfterMs?: number
  readonly json: boolean
}

function read(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      data: { type: 'string' },
      nodes: { type: 'string', default: '3' },
      shards: { type: 'string', default: '1' },
      disorder: { type: 'string', default: '1d' },
      'kill-after': { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  })
  const { data, json } = values
  if (data === undefined || data === '') throw wrong('--data is missing: a folder of CSV files is wanted')
  const nodes = wholeNumber('--nodes', values.nodes, 16)
  const options = {
    data,
    nodes,
    shards: wholeNumber('--shards', values.shards, 64),
    disorderMs: parseDuration(values.disorder, '--disorder'),
    json,
  }
  const killAfter = values['kill-after']
  if (killAfter === undefined) return options
  if (nodes === 1) throw wrong('--kill-after needs at least two --nodes: somebody must go on')
  const killAfterMs = parseDuration(killAfter, '--kill-after')
  if (killAfterMs < 1) throw wrong('--kill-after must be at least 1ms')
  return { ...options, killAfterMs }
}

async function main(): Promise<void> {
  const { data, json, ...cluster } = read(process.argv.slice(2))
  // What is wrong with the data is said before nodes are started for it.
  const files = await listFiles([data], 'csv')
  const interrupted = new AbortController()
  const onSignal = (): void => interrupted.abort()
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  const progress = progressOn(process.stderr, json)
  const options: RunOptions = {
    ...cluster,
    files,
    ...progress,
    signal: interrupted.signal,
  }
  try {
    const report = await runRetailStreams(options)
    progress.end()
    print(report, options, json)
  } catch (thrown) {
    progress.end()
    if (!interrupted.signal.aborted) throw thrown
    process.exitCode = 130
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
  }
}

/** People see on standard error how far it is: phases, and on a terminal a line that is written over. */
function progressOn(to: NodeJS.WriteStream, json: boolean): Pick<RunOptions, 'onPhase' | 'onStatus'> & { end(): void } {
  const clear = to.isTTY ? '\r\u001b[K' : ''
  return {
    onPhase: text => {
      if (!json || to.isTTY) to.write(`${clear}${text}\n`)
    },
    onStatus: (status, ranMs) => {
      if (to.isTTY) to.write(`${clear}${grouped(linesIn(status))} lines in after ${formatDuration(ranMs)} (${status.status})`)
    },
    end: () => void to.write(clear),
  }
}

function print({ results, ...run }: RunReport, { nodes, shards }: RunOptions, json: boolean): void {
  const { lines, ranMs, killed, restarts, checkpoints } = run
  if (json) {
    const linesPerSecond = Math.round((lines / ranMs) * 1000)
    console.log(JSON.stringify({ nodes, shards, lines, ranMs: Math.round(ranMs), linesPerSecond, killed, restarts, checkpoints }))
    console.log(JSON.stringify(results))
    return
  }
  console.log(`${grouped(lines)} lines in ${formatDuration(ranMs)}, ${grouped(Math.round((lines / ranMs) * 1000))} a second`)
  if (killed !== null) console.log(`${killed} was killed; restarts: ${restarts}, checkpoints: ${checkpoints}`)
  console.log()
  for (const [name, result] of Object.entries(results) as [string, RunReport['results'][keyof RunReport['results']]][]) {
    const rows = typeof result === 'number' ? result : result.rows
    const sha256 = typeof result === 'number' ? '' : `  ${styleText('dim', result.sha256)}`
    console.log(`  ${name.padEnd(24)}${grouped(rows).padStart(9)}${sha256}`)
  }
}

const grouped = (value: number): string => value.toLocaleString('en-US')

function wholeNumber(option: string, text: string, most: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (value >= 1 && value <= most) return value
  throw wrong(`${option} is "${text}", a whole number from 1 to ${most} is wanted`)
}

function wrong(what: string): NearstateError {
  return new NearstateError('INVALID_ARGUMENT', `Cannot run retail-streams: ${what}`)
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1) // whoever read has seen enough
})

try {
  await main()
} catch (error) {
  const code = error instanceof NearstateError ? `${error.code}: ` : ''
  console.error(error instanceof Error ? `${code}${error.message}` : error)
  const isUsage = error instanceof NearstateError && error.code === 'INVALID_ARGUMENT'
  if (isUsage || (error instanceof TypeError && 'code' in error)) console.error(`\n${usage}`)
  process.exitCode = isUsage || error instanceof TypeError ? 2 : 1
}
