/** `nearstate job ...`: submit, list, show, suspend, resume, cancel, savepoints; progress on a terminal. */
import { styleText } from 'node:util'
import { type Command, Option } from 'commander'
import { formatByteSize } from '../base/byte-size.ts'
import { type Duration, formatDuration } from '../base/duration.ts'
import { NearstateError } from '../base/errors.ts'
import type { Guarantee, JobHandle, JobState, JobStatus } from '../client/jobs.ts'
import { parseJson } from './arguments.ts'
import { globalOptions, withGrid } from './cluster-access.ts'
import { registerSavepoints } from './job-savepoints.ts'
import { counted } from './demo-summary.ts'
import { registerJobCheck } from './job-check.ts'
import { registerJobLetters } from './job-letters.ts'
import { registerJobSkew } from './job-skew.ts'
import { registerJobLogs } from './job-logs.ts'
import { registerJobState } from './job-state.ts'
import { registerJobTop } from './job-top.ts'
import { framesOf, isTerminal, printJson, printLine, printTable, reportError } from './output.ts'

export function registerJob(program: Command): void {
  const job = program.command('job').description('stream jobs')
  job
    .command('submit <file>')
    .description('bundle a job file, check it and start it')
    .option('--name <name>', 'default: the name in the file')
    .option('--args <json>', "the job's arguments")
    .addOption(
      new Option('--guarantee <guarantee>', 'what a crash may do to state and output')
        .choices(['exactly-once', 'at-least-once', 'none'])
        .default('exactly-once'),
    )
    .option('--checkpoint-interval <duration>', 'time between checkpoints', '1s')
    .option('--from <savepoint>', 'start from a savepoint: JOB/LABEL')
    .option('--allow-state-loss', 'with --from: stages whose state does not fit begin with nothing')
    .option('--watch', 'wait until it has ended, and show how it goes')
    .action((file: string, options: SubmitFlags, command: Command) => submit(file, options, command))
  job
    .command('ls')
    .description('all jobs, the latest first')
    .action((_options, command: Command) => list(command))
  job
    .command('show <name>')
    .description('one job and its stages')
    .option('--watch', 'wait until it has ended, and show how it goes')
    .action((name: string, options: { watch?: boolean }, command: Command) => show(name, options.watch === true, command))
  job
    .command('suspend <name>')
    .description('stop a job after a last checkpoint')
    .action((name: string, _options, command: Command) => change(name, command, job => job.suspend()))
  job
    .command('resume <name>')
    .description('start a suspended job again where its last checkpoint is')
    .action((name: string, _options, command: Command) => change(name, command, job => job.resume()))
  job
    .command('cancel <name>')
    .description('stop a job; what it has written stays, rows that it has collected go')
    .action((name: string, _options, command: Command) => change(name, command, job => job.cancel()))
  registerJobCheck(job)
  registerJobState(job)
  registerJobLetters(job)
  registerJobSkew(job)
  registerJobLogs(job)
  registerJobTop(job)
  registerSavepoints(job)
}

interface SubmitFlags {
  readonly name?: string
  readonly args?: string
  readonly guarantee: Guarantee
  readonly checkpointInterval: Duration
  readonly from?: string
  readonly allowStateLoss?: boolean
  readonly watch?: boolean
}

async function submit(file: string, flags: SubmitFlags, command: Command): Promise<void> {
  const options = globalOptions(command)
  const submitOptions = {
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...(flags.args === undefined ? {} : { args: parseJson('--args', flags.args) }),
    guarantee: flags.guarantee,
    checkpointInterval: flags.checkpointInterval,
    ...(flags.from === undefined ? {} : { from: flags.from }),
    ...(flags.allowStateLoss === undefined ? {} : { allowStateLoss: flags.allowStateLoss }),
  }
  const status = await withGrid(options, async grid => {
    const job = await grid.jobs.submit(file, submitOptions)
    return flags.watch === true ? watch(job, options.json) : job.status()
  })
  if (status === undefined) return
  if (!options.json) for (const warning of status.warnings) process.stderr.write(`Warning: ${warning}\n`)
  if (options.json) printJson(status)
  else if (flags.watch === true) printStages(status)
  else printLine(`Job "${status.name}" runs. "nearstate job show ${status.name} --watch" shows how it goes.`)
  failIfFailed(status)
}

async function list(command: Command): Promise<void> {
  const options = globalOptions(command)
  const jobs = await withGrid(options, grid => grid.jobs.list())
  if (options.json) return printJson(jobs)
  printTable(
    ['job', 'status', 'submitted', 'rows in', 'dead letters', 'failure'],
    jobs.map(job => [
      job.name,
      coloured(job.status),
      formatTime(job.submittedAt),
      rowsIn(job),
      total(job, 'deadLetters'),
      job.status === 'failed' ? (job.failure ?? '') : '',
    ]),
  )
}

async function show(name: string, wait: boolean, command: Command): Promise<void> {
  const options = globalOptions(command)
  const status = await withGrid(options, grid => {
    const job = grid.jobs.get(name)
    return wait ? watch(job, options.json) : job.status()
  })
  if (status === undefined) return
  if (options.json) return printJson(status)
  printLine(`${status.name}: ${coloured(status.status)}, submitted ${formatTime(status.submittedAt)}, guarantee ${status.guarantee}`)
  const { checkpoint, checkpoints, restarts } = status
  if (checkpoint !== null)
    printLine(
      `${counted(checkpoints, 'checkpoint')}, the last at ${formatTime(checkpoint.at)} in ${formatDuration(checkpoint.durationMs)} with ${formatByteSize(checkpoint.bytes)}; ${counted(restarts, 'restart')}`,
    )
  if (status.failure !== undefined) printLine(`${status.status === 'failed' ? 'failed' : 'last trouble'}: ${status.failure}`)
  for (const frame of framesOf(status.failureStack).slice(0, 1)) printLine(frame)
  printStages(status)
}

async function change(name: string, command: Command, act: (job: JobHandle) => Promise<JobStatus>): Promise<void> {
  const options = globalOptions(command)
  const status = await withGrid(options, grid => act(grid.jobs.get(name)))
  if (options.json) printJson(status)
  else printLine(`Job "${name}" is ${status.status}.`)
}

/** Waits for the end; on a terminal one line is rewritten meanwhile. Undefined: Ctrl-C came before, and it was said that the job runs on. */
async function watch(job: JobHandle, json: boolean): Promise<JobStatus | undefined> {
  const interrupted = new AbortController()
  const { signal } = interrupted
  const onSignal = (): void => interrupted.abort()
  process.once('SIGINT', onSignal)
  try {
    if (json || !isTerminal()) return await job.ended({ signal })
    const progress = new ProgressLine()
    return await job
      .ended({ signal, onStatus: now => process.stdout.write(`\r\u001b[K${coloured(now.status)}  ${progress.of(now, performance.now())}`) })
      .finally(() => process.stdout.write('\n'))
  } catch (thrown) {
    if (!signal.aborted) throw thrown
    tellThatItRunsOn(job.name, json)
    return undefined
  } finally {
    process.off('SIGINT', onSignal)
  }
}

function tellThatItRunsOn(name: string, json: boolean): void {
  const text = `Job "${name}" runs on: "nearstate job cancel ${name}" stops it, "nearstate job show ${name} --watch" watches it again.`
  if (json) reportError(new NearstateError('CANCELLED', text), json)
  else process.stderr.write(`${text}\n`)
  process.exitCode = 130
}

/** Rows so far, and how many come a second since this began to watch. */
export class ProgressLine {
  #first: { readonly rows: number; readonly atMs: number } | undefined

  of(status: JobStatus, nowMs: number): string {
    const rows = rowsIn(status)
    this.#first ??= { rows, atMs: nowMs }
    const elapsedMs = nowMs - this.#first.atMs
    // After a restart the counts begin where the checkpoint had them.
    const grown = Math.max(0, rows - this.#first.rows)
    const rate =
      elapsedMs < 500 ? '' : `, ${Math.round((grown / elapsedMs) * 1000).toLocaleString('en')}/s over ${formatDuration(elapsedMs)}`
    const dead = total(status, 'deadLetters')
    return `${counted(rows, 'row')} in${rate}${dead > 0 ? `, ${counted(dead, 'dead letter')}` : ''}`
  }
}

function printStages(status: JobStatus): void {
  printTable(
    ['stage', 'kind', 'tasks', 'rows in', 'rows out', 'dead letters', 'late', 'watermark', 'state', 'busy', 'blocked'],
    status.stages.map(stage => [
      stage.name,
      stage.kind,
      stage.tasks,
      stage.rowsIn,
      stage.rowsOut,
      stage.deadLetters,
      stage.late,
      stage.watermark === null ? '' : formatTime(stage.watermark),
      stage.stateBytes === 0 ? '' : formatByteSize(stage.stateBytes),
      formatDuration(stage.busyMs),
      formatDuration(stage.blockedMs),
    ]),
  )
}

/** What the sources have read. */
const rowsIn = (job: JobStatus): number =>
  job.stages.filter(stage => stage.kind === 'source').reduce((sum, stage) => sum + stage.rowsOut, 0)
const total = (job: JobStatus, field: 'deadLetters'): number => job.stages.reduce((sum, stage) => sum + stage[field], 0)
const formatTime = (ms: number): string => new Date(ms).toISOString().replace('T', ' ').slice(0, 19)

const colours: Partial<Record<JobState, 'green' | 'red' | 'yellow'>> = {
  running: 'green',
  completed: 'green',
  failed: 'red',
  cancelled: 'yellow',
  restarting: 'yellow',
  suspended: 'yellow',
}

function coloured(status: JobState): string {
  const colour = colours[status]
  return colour === undefined ? status : styleText(colour, status, { stream: process.stdout })
}

/** A watched job that failed makes the command fail. */
function failIfFailed(status: JobStatus): void {
  if (status.status !== 'failed') return
  const [functionStack] = framesOf(status.failureStack)
  const details = functionStack === undefined ? {} : { functionStack }
  throw new NearstateError('FUNCTION_FAILED', `Job "${status.name}" failed: ${status.failure ?? 'no reason was given'}`, details)
}
