/** The whole command line: global options, the command groups, and what becomes of errors. */
import { Command, CommanderError, Option } from 'commander'
import { release } from '../node/release.ts'
import { defaultEndpoint } from './cluster-access.ts'
import { registerCluster } from './cluster.ts'
import { registerDemo } from './demo.ts'
import { registerDev } from './dev.ts'
import { registerFunctions } from './functions.ts'
import { registerJob } from './job.ts'
import { registerMap } from './map.ts'
import { reportError } from './output.ts'
import { registerStart } from './start.ts'

/** Runs one command line; sets the exit code: 0 done, 1 failed, 2 wrong usage. */
export async function run(argv: readonly string[]): Promise<void> {
  const wantsJson = argv.includes('--json')
  const program = createProgram(wantsJson)
  try {
    await program.parseAsync([...argv])
  } catch (error) {
    if (error instanceof CommanderError) reportUsage(error, wantsJson, groupOf(program, argv))
    else reportError(error, wantsJson)
  }
}

/** Exported for the documentation, which lists every command. */
export function createProgram(wantsJson: boolean): Command {
  const program = new Command('nearstate')
    .description('A distributed in-memory data grid with a stream processor inside.')
    .version(release)
    .option('-e, --endpoint <host:port>', `a node to ask, any of the cluster; may be repeated (default: ${defaultEndpoint})`, collect)
    .option('--json', 'print JSON for other programs')
    .addOption(new Option('--timeout <duration>', 'how long a call may take').default('5s'))
    .configureOutput({
      writeErr: text => {
        if (!wantsJson) process.stderr.write(text)
      },
      writeOut: text => {
        process.stdout.write(wantsJson && text.trim() === release ? `${JSON.stringify({ version: release })}\n` : text)
      },
    })
    .exitOverride()
    .showHelpAfterError('(see --help)')
  registerDev(program)
  registerStart(program)
  registerCluster(program)
  registerMap(program)
  registerJob(program)
  registerFunctions(program)
  registerDemo(program)
  return program
}

const collect = (value: string, earlier: readonly string[] | undefined): readonly string[] => [...(earlier ?? []), value]

/** The command whose subcommand is wanted, where none was given. */
const groupOf = (program: Command, argv: readonly string[]): Command =>
  program.commands.find(command => argv.includes(command.name())) ?? program

function reportUsage(error: CommanderError, wantsJson: boolean, group: Command): void {
  if (error.exitCode === 0) return
  process.exitCode = 2
  if (!wantsJson) return // commander has told
  const message = error.code === 'commander.help' ? commandWanted(group) : error.message.replace(/^error: /, '')
  process.stderr.write(`${JSON.stringify({ error: { code: 'INVALID_ARGUMENT', message, retryable: false } })}\n`)
}

function commandWanted(group: Command): string {
  const name = group.parent === null ? group.name() : `${group.parent.name()} ${group.name()}`
  return `A command is wanted after "${name}": ${group.commands.map(command => command.name()).join(', ')}`
}
