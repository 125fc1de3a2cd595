/** `nearstate job dead-letters`, `job replay-dead-letters` and `job clear-dead-letters`: rows that a job could not process. */
import { type Command, Option } from 'commander'
import type { DeadLetter } from '../client/job-letters.ts'
import { wholeNumber } from './arguments.ts'
import { globalOptions, withGrid } from './cluster-access.ts'
import { counted } from './demo-summary.ts'
import { printJson, printLine } from './output.ts'

interface LetterFlags {
  readonly stage?: string
  readonly limit?: number
}

export function registerJobLetters(job: Command): void {
  job
    .command('dead-letters <name>')
    .description('rows that a job could not process, in no order')
    .option('--stage <stage>', 'only those that this stage refused')
    .addOption(new Option('--limit <count>', 'no more than this many').argParser(wholeNumber('--limit', 0, Number.MAX_SAFE_INTEGER)))
    .action((name: string, flags: LetterFlags, command: Command) => list(name, flags, command))
  job
    .command('replay-dead-letters <name>')
    .description('give dead letters back to the stages that refused them, while the job runs; waits for its next checkpoint')
    .option('--stage <stage>', 'only those that this stage refused')
    .action((name: string, flags: LetterFlags, command: Command) => replay(name, flags, command))
  job
    .command('clear-dead-letters <name>')
    .description("remove a job's dead letters")
    .option('--stage <stage>', 'only those that this stage refused')
    .action((name: string, flags: LetterFlags, command: Command) => clear(name, flags, command))
}

async function list(name: string, flags: LetterFlags, command: Command): Promise<void> {
  const options = globalOptions(command)
  await withGrid(options, async grid => {
    for await (const letter of grid.jobs.get(name).deadLetters(flags)) {
      if (options.json) printJson(letter)
      else printLine(textOf(letter))
    }
  })
}

const textOf = ({ stage, origin, line, reason, row, raw, at }: DeadLetter): string =>
  [stage, origin === '' ? '' : `${origin}:${line}`, new Date(at).toISOString(), reason, raw ?? JSON.stringify(row)].join('\t')

async function replay(name: string, flags: LetterFlags, command: Command): Promise<void> {
  const options = globalOptions(command)
  const result = await withGrid(options, grid => grid.jobs.get(name).replayDeadLetters(flags))
  if (options.json) return printJson({ job: name, ...result })
  const { replayed, failedAgain, refused, reasons } = result
  printLine(`Of job "${name}", ${counted(replayed, 'dead letter')} replayed, ${failedAgain} failed again, ${refused} cannot be replayed.`)
  for (const reason of reasons) printLine(`cannot be replayed: ${reason}`)
}

async function clear(name: string, flags: LetterFlags, command: Command): Promise<void> {
  const options = globalOptions(command)
  const cleared = await withGrid(options, grid => grid.jobs.get(name).clearDeadLetters(flags))
  if (options.json) printJson({ job: name, cleared })
  else printLine(`${counted(cleared, 'dead letter')} of job "${name}" ${cleared === 1 ? 'is' : 'are'} gone.`)
}
