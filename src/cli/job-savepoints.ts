/** `nearstate job savepoint ...`: make, list and delete savepoints; `job submit --from` starts from one. */
import type { Command } from 'commander'
import { globalOptions, withGrid } from './cluster-access.ts'
import { printJson, printLine, printTable } from './output.ts'

export function registerSavepoints(job: Command): void {
  job
    .command('savepoint <name> <label>')
    .description("copy a job's state and positions out under a label, while it goes on")
    .action((name: string, label: string, _options, command: Command) => make(name, label, command))
  job
    .command('savepoints')
    .description('the savepoints of all jobs, the latest first')
    .action((_options, command: Command) => list(command))
  job
    .command('delete-savepoint <savepoint>')
    .description('delete a savepoint: JOB/LABEL')
    .action((name: string, _options, command: Command) => remove(name, command))
}

async function make(job: string, label: string, command: Command): Promise<void> {
  const options = globalOptions(command)
  const savepoint = await withGrid(options, grid => grid.jobs.get(job).savepoint(label))
  if (options.json) printJson(savepoint)
  else printLine(`Savepoint ${savepoint.name} is made. "nearstate job submit FILE --from ${savepoint.name}" starts from it.`)
}

async function list(command: Command): Promise<void> {
  const options = globalOptions(command)
  const savepoints = await withGrid(options, grid => grid.jobs.savepoints())
  if (options.json) return printJson(savepoints)
  printTable(
    ['savepoint', 'made', 'code'],
    savepoints.map(({ name, at, code }) => [name, new Date(at).toISOString().replace('T', ' ').slice(0, 19), code]),
  )
}

async function remove(name: string, command: Command): Promise<void> {
  const options = globalOptions(command)
  await withGrid(options, grid => grid.jobs.deleteSavepoint(name))
  if (options.json) printJson({ name })
  else printLine(`Savepoint ${name} is deleted.`)
}
