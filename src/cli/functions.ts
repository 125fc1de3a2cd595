/** `nearstate functions deploy`. */
import type { Command } from 'commander'
import { globalOptions, withGrid } from './cluster-access.ts'
import { printJson, printLine } from './output.ts'

export function registerFunctions(program: Command): void {
  program
    .command('functions')
    .description('functions that run at the data')
    .command('deploy <file>')
    .description('bundle a TypeScript file of defineFunctions and load it on every shard; replaces what the file had before')
    .action((file: string, _options, command: Command) => deploy(file, command))
}

async function deploy(file: string, command: Command): Promise<void> {
  const options = globalOptions(command)
  const { hash, names } = await withGrid(options, grid => grid.functions.deploy(file))
  if (options.json) printJson({ hash, names })
  else printLine(`Deployed ${names.join(', ')} (${hash.slice(0, 12)}).`)
}
