/** `nearstate start`: one node of a real cluster, in this process. */
import { type Command, Option } from 'commander'
import { type LoadedConfig, loadConfig } from '../config/load-config.ts'
import { formatConfig, optionHelp } from '../config/describe-options.ts'
import { globalOptions } from './cluster-access.ts'
import { printJson } from './output.ts'

export function registerStart(program: Command): void {
  const start = program
    .command('start')
    .description('one node of a cluster, in this process; SIGTERM stops it in order')
    .option('--config <file>', 'YAML file; NEARSTATE_* variables and flags override it')
    .option('--print-config', 'show the configuration with the origin of each value, and start nothing')
  for (const { flags, description, defaultText } of optionHelp()) {
    start.addOption(new Option(flags, `${description}${defaultText === '' ? '' : ` (default: ${defaultText})`}`))
  }
  start.action((flags: StartFlags, command: Command) => run(flags, command))
}

type StartFlags = Readonly<Record<string, unknown>> & { readonly config?: string; readonly printConfig?: boolean }

async function run({ config: file, printConfig, ...flags }: StartFlags, command: Command): Promise<void> {
  const { json } = globalOptions(command)
  const loaded = loadConfig({ file, env: process.env, flags })
  if (printConfig === true) {
    if (json) printJson(asJson(loaded))
    else process.stdout.write(formatConfig(loaded))
    return
  }
  const { runNodeProcess } = await import('../node/node-process.ts')
  await runNodeProcess(loaded.config)
}

const asJson = ({ config, origins }: LoadedConfig): Record<string, unknown> =>
  Object.fromEntries(Object.entries(config).map(([name, value]) => [name, { value, origin: origins[name as keyof typeof origins].source }]))
