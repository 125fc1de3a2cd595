/** `nearstate job skew`: the keys that take most of a job's rows. */
import type { Command } from 'commander'
import { globalOptions, withGrid } from './cluster-access.ts'
import { keyText } from './key-text.ts'
import { printJson, printTable } from './output.ts'

export function registerJobSkew(job: Command): void {
  job
    .command('skew <name>')
    .description('the keys that take most rows, for each keyBy, while the job runs')
    .action((name: string, _options, command: Command) => show(name, command))
}

async function show(name: string, command: Command): Promise<void> {
  const options = globalOptions(command)
  const stages = await withGrid(options, grid => grid.jobs.get(name).skew())
  if (options.json) return printJson(stages)
  printTable(
    ['stage', 'rows sampled', 'key', 'share', 'at most'],
    stages.flatMap(({ stage, sampled, keys }) =>
      keys.length === 0
        ? [[stage, sampled, '', '', '']]
        : keys.map(({ key, share, atMost }) => [stage, sampled, keyText(key), percent(share), percent(atMost)]),
    ),
  )
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
