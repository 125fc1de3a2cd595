/** `nearstate job check` and `nearstate job graph`: a job before it runs. */
import type { Command } from 'commander'
import type { JobCheck } from '../client/jobs.ts'
import { parseJson } from './arguments.ts'
import { globalOptions, withGrid } from './cluster-access.ts'
import { counted } from './demo-summary.ts'
import { printJson, printLine } from './output.ts'

interface CheckFlags {
  readonly name?: string
  readonly args?: string
}

export function registerJobCheck(job: Command): void {
  job
    .command('check <file>')
    .description('all that a submit would look at, without starting the job; exits with 1 when it would be refused')
    .option('--name <name>', 'default: the name in the file')
    .option('--args <json>', "the job's arguments")
    .action((file: string, flags: CheckFlags, command: Command) => check(file, flags, command))
  job
    .command('graph <job>')
    .description('the stages of a job file (a path that ends in .ts, .mts, .js or .mjs), or of a job that the cluster knows')
    .option('--args <json>', "a file's arguments")
    .action((job: string, flags: CheckFlags, command: Command) => graph(job, flags, command))
}

async function check(file: string, flags: CheckFlags, command: Command): Promise<void> {
  const options = globalOptions(command)
  const found = await withGrid(options, grid => grid.jobs.check(file, checkOptions(flags)))
  const errors = found.findings.filter(({ level }) => level === 'error').length
  if (options.json) printJson(found)
  else {
    for (const { level, stage, message } of found.findings)
      printLine(`${level}: ${stage === undefined ? '' : `stage "${stage}": `}${message}`)
    for (const [source, splits] of Object.entries(found.splits)) printLine(`source "${source}": ${counted(splits, 'split')}`)
    printLine(errors === 0 ? `Job "${found.name}" can be submitted.` : `Job "${found.name}" would be refused: ${counted(errors, 'error')}.`)
  }
  if (errors > 0) process.exitCode = 1
}

async function graph(job: string, flags: CheckFlags, command: Command): Promise<void> {
  const options = globalOptions(command)
  const isFile = /\.m?[jt]s$/.test(job)
  const found = await withGrid(
    options,
    (grid): Promise<JobCheck> => (isFile ? grid.jobs.check(job, checkOptions(flags)) : grid.jobs.get(job).graph()),
  )
  if (options.json) printJson({ name: found.name, stages: found.stages })
  else printLine(found.text)
}

const checkOptions = ({ name, args }: CheckFlags) => ({
  ...(name === undefined ? {} : { name }),
  ...(args === undefined ? {} : { args: parseJson('--args', args) }),
})
