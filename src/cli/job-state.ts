/** `nearstate job state` and `nearstate job rows`: what a job keeps, read from outside. */
import { type Command, Option } from 'commander'
import { NearstateError } from '../base/errors.ts'
import type { Grid } from '../client/grid.ts'
import { UsageError, wholeNumber } from './arguments.ts'
import { globalOptions, withGrid } from './cluster-access.ts'
import { keyJson, keyText, parseKey } from './key-text.ts'
import { printLine } from './output.ts'

interface StateFlags {
  readonly live?: boolean
  readonly limit?: number
}

const limitOption = (): Option =>
  new Option('--limit <count>', 'no more than this many').argParser(wholeNumber('--limit', 0, Number.MAX_SAFE_INTEGER))

export function registerJobState(job: Command): void {
  job
    .command('state <name> <stage> [key]')
    .description('state that a stage keeps, of one key or of all, as the last checkpoint has it')
    .addOption(new Option('--live', 'of one key, as the stage works with it now; a crash may take it back').conflicts('limit'))
    .addOption(limitOption())
    .action((name: string, stage: string, key: string | undefined, flags: StateFlags, command: Command) =>
      key === undefined ? scan(name, stage, flags, command) : get(name, stage, key, flags, command),
    )
  job
    .command('rows <name> <stage>')
    .description('rows that a collect() sink has in the last checkpoint')
    .addOption(limitOption())
    .action((name: string, stage: string, flags: StateFlags, command: Command) => rows(name, stage, flags, command))
}

async function get(name: string, stage: string, text: string, { live = false }: StateFlags, command: Command): Promise<void> {
  const options = globalOptions(command)
  const { key, entry } = await withGrid(options, async grid => {
    const state = grid.jobs.get(name).state(stage)
    const parsed = parseKey(await state.keyCodec(), text)
    return { key: parsed, entry: await state.getEntry(parsed, { read: live ? 'live' : 'checkpoint' }) }
  })
  if (entry === undefined) throw new NearstateError('NOT_FOUND', `Stage "${stage}" of job "${name}" has no state of that key`)
  const { value, checkpoint } = entry
  if (options.json) printLine(jsonOf({ key: keyJson(key), value, checkpoint: checkpoint ?? null }))
  else printLine(jsonOf(value, process.stdout.isTTY ? 2 : undefined))
}

async function scan(name: string, stage: string, { live = false, limit }: StateFlags, command: Command): Promise<void> {
  if (live) throw new UsageError('--live reads one key: name it')
  const options = globalOptions(command)
  await withGrid(options, async (grid: Grid) => {
    for await (const [key, value] of grid.jobs
      .get(name)
      .state(stage)
      .scan(limit === undefined ? {} : { limit })) {
      if (options.json) printLine(jsonOf({ key: keyJson(key), value }))
      else printLine(`${keyText(key)}\t${jsonOf(value)}`)
    }
  })
}

async function rows(name: string, stage: string, { limit }: StateFlags, command: Command): Promise<void> {
  await withGrid(globalOptions(command), async grid => {
    for await (const row of grid.jobs.get(name).rows(stage, limit === undefined ? {} : { limit })) printLine(jsonOf(row))
  })
}

/** JSON knows no maps, sets, bytes and large integers. */
const jsonOf = (value: unknown, indent?: number): string => JSON.stringify(value, (_, item: unknown) => plainOf(item), indent) ?? 'null'

function plainOf(item: unknown): unknown {
  if (item instanceof Map || item instanceof Set) return [...item]
  if (item instanceof Uint8Array) return keyJson(item)
  return typeof item === 'bigint' ? String(item) : item
}
