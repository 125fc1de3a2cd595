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
  try {
    await createProgram(wantsJson).parseAsync([...argv])
  } catch (error) {
    if (error instanceof CommanderError) reportUsage(error, wantsJson)
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

function reportUsage(error: CommanderError, wantsJson: boolean): void {
  if (error.exitCode === 0) return
  process.exitCode = 2
  if (!wantsJson) return // commander has told
  const message = error.message.replace(/^error: /, '')
  process.stderr.write(`${JSON.stringify({ error: { code: 'INVALID_ARGUMENT', message, retryable: false } })}\n`)
}
