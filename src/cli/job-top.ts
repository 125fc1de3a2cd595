/** `nearstate job top`: what the stages of jobs do, per second; on a terminal it is shown anew every two seconds. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { formatByteSize } from '../base/byte-size.ts'
import { formatDuration } from '../base/duration.ts'
import type { Grid } from '../client/grid.ts'
import type { JobState, JobStatus, StageStatus } from '../client/jobs.ts'
import { type GlobalOptions, globalOptions, withGrid } from './cluster-access.ts'
import { isTerminal, printJson, printLine, printTable } from './output.ts'

/** One element of `nearstate job top --json`. */
export interface JobTop {
  readonly name: string
  readonly status: JobState
  readonly stages: readonly StageTop[]
}

export interface StageTop {
  readonly name: string
  readonly kind: string
  readonly tasks: number
  readonly rowsInPerSecond: number
  readonly rowsOutPerSecond: number
  /** Of the time of all its tasks. */
  readonly busyShare: number
  readonly blockedShare: number
  /** How far the watermark is behind the wall clock; null: there is none. */
  readonly watermarkLagMs: number | null
  readonly deadLetters: number
  readonly stateBytes: number
}

interface Sample {
  readonly jobs: readonly JobStatus[]
  readonly atMs: number
  readonly wallTimeMs: number
}

const refreshMs = 2000
const onceMs = 1000
const clearScreen = '\u001b[H\u001b[2J'

export function registerJobTop(job: Command): void {
  job
    .command('top [name]')
    .description('what the stages of a job, or of all that run, do per second')
    .option('--once', 'measure for a second and print one table')
    .action((name: string | undefined, flags: { once?: boolean }, command: Command) => top(name, flags.once === true, command))
}

async function top(name: string | undefined, once: boolean, command: Command): Promise<void> {
  const options = globalOptions(command)
  const interrupted = new AbortController()
  const { signal } = interrupted
  const onSignal = (): void => interrupted.abort()
  process.once('SIGINT', onSignal)
  try {
    await withGrid(options, grid => watch(grid, name, once || options.json || !isTerminal(), options, signal))
  } catch (thrown) {
    if (!signal.aborted) throw thrown
  } finally {
    process.off('SIGINT', onSignal)
  }
}

async function watch(grid: Grid, name: string | undefined, once: boolean, { json }: GlobalOptions, signal: AbortSignal): Promise<void> {
  let before = await take(grid, name, signal)
  for (let isFirst = true; ; isFirst = false) {
    await sleep(once || isFirst ? onceMs : refreshMs, undefined, { signal })
    const now = await take(grid, name, signal)
    const jobs = compare(before, now)
    if (json) return printJson(jobs)
    if (!once) process.stdout.write(clearScreen)
    printJobs(jobs)
    if (once) return
    printLine('Ctrl-C ends.')
    before = now
  }
}

async function take(grid: Grid, name: string | undefined, signal: AbortSignal): Promise<Sample> {
  const jobs = name === undefined ? (await grid.jobs.list({ signal })).filter(isActive) : [await grid.jobs.get(name).status({ signal })]
  return { jobs, atMs: performance.now(), wallTimeMs: Date.now() }
}

const isActive = ({ status }: JobStatus): boolean => status === 'starting' || status === 'running' || status === 'restarting'

/** What came between the two; a job that was not there before counts as idle. */
export function compare(before: Sample, now: Sample): readonly JobTop[] {
  const elapsedMs = now.atMs - before.atMs
  return now.jobs.map(({ name, id, status, stages }) => {
    const known = before.jobs.find(job => job.id === id)?.stages ?? stages
    const active = status === 'running'
    return {
      name,
      status,
      stages: stages.map(stage =>
        compareStage(known.find(one => one.name === stage.name) ?? stage, stage, elapsedMs, active ? now.wallTimeMs : null),
      ),
    }
  })
}

function compareStage(before: StageStatus, now: StageStatus, elapsedMs: number, wallTimeMs: number | null): StageTop {
  const { name, kind, tasks, deadLetters, stateBytes, watermark } = now
  // Counts go back when an attempt begins: what it has done since is what there is.
  const grown = (field: 'rowsIn' | 'rowsOut' | 'busyMs' | 'blockedMs'): number => Math.max(0, now[field] - before[field])
  const perSecond = (field: 'rowsIn' | 'rowsOut'): number => Math.round((grown(field) / elapsedMs) * 1000)
  const share = (field: 'busyMs' | 'blockedMs'): number =>
    Math.min(1, Math.round((grown(field) / elapsedMs / Math.max(1, tasks)) * 1000) / 1000)
  return {
    name,
    kind,
    tasks,
    rowsInPerSecond: perSecond('rowsIn'),
    rowsOutPerSecond: perSecond('rowsOut'),
    busyShare: share('busyMs'),
    blockedShare: share('blockedMs'),
    watermarkLagMs: watermark === null || wallTimeMs === null ? null : wallTimeMs - watermark,
    deadLetters,
    stateBytes,
  }
}

function printJobs(jobs: readonly JobTop[]): void {
  if (jobs.length === 0) return printLine('No job runs.')
  printTable(
    ['job', 'stage', 'kind', 'rows in/s', 'rows out/s', 'busy', 'blocked', 'watermark lag', 'dead letters', 'state'],
    jobs.flatMap(({ name, status, stages }) =>
      stages.map((stage, at) => [
        at > 0 && isTerminal() ? '' : status === 'running' ? name : `${name} (${status})`,
        stage.name,
        stage.kind,
        stage.rowsInPerSecond,
        stage.rowsOutPerSecond,
        percent(stage.busyShare),
        percent(stage.blockedShare),
        stage.watermarkLagMs === null ? '' : lag(stage.watermarkLagMs),
        stage.deadLetters,
        stage.stateBytes === 0 ? '' : formatByteSize(stage.stateBytes),
      ]),
    ),
  )
}

const percent = (share: number): string => `${Math.round(share * 100)}%`
/** Events may be of the future. */
const lag = (ms: number): string => (ms < 0 ? `-${formatDuration(-ms)}` : formatDuration(ms))
