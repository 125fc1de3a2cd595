/** `nearstate map ...`: definitions, entries and figures of maps. */
import { type Command, Option } from 'commander'
import { formatByteSize, parseByteSize } from '../base/byte-size.ts'
import { type Duration, formatDuration, parseDuration } from '../base/duration.ts'
import { NearstateError } from '../base/errors.ts'
import type { NodeFigures } from '../client/cluster-stats.ts'
import type { Grid } from '../client/grid.ts'
import type { GridMap } from '../client/grid-map.ts'
import type { MapOptions } from '../client/maps.ts'
import { type KeyCodec, parseKeyCodec } from '../keys/key-codec.ts'
import type { AnyKey } from '../keys/key-space.ts'
import { asWritten, parseJson, wholeNumber } from './arguments.ts'
import { type GlobalOptions, globalOptions, withGrid } from './cluster-access.ts'
import { keyJson, keyText, parseKey as readKey } from './key-text.ts'
import { printJson, printLine, printTable } from './output.ts'

interface KeyOptions {
  readonly keySpace?: string
  readonly keyCodec?: string
}

interface ExpiryFlags {
  readonly ttl?: Duration
  readonly maxIdle?: Duration
}

export function registerMap(program: Command): void {
  const map = program.command('map').description('maps and their entries')
  map
    .command('ls')
    .description('all maps, with entries and bytes')
    .action((_options, command: Command) => list(command))
  withKeyOptions(map.command('get <map> <key>').description('one entry')).action(
    (name: string, key: string, options: KeyOptions, command: Command) => get(name, key, options, command),
  )
  withKeyOptions(map.command('set <map> <key> <value>').description('write one entry; the value is JSON'))
    .option('--ttl <duration>', 'removed after this time')
    .option('--max-idle <duration>', 'removed when neither read nor written for this time')
    .action((name: string, key: string, value: string, options: KeyOptions & ExpiryFlags, command: Command) =>
      set(name, key, value, options, command),
    )
  withKeyOptions(map.command('del <map> <key>').description('delete one entry')).action(
    (name: string, key: string, options: KeyOptions, command: Command) => remove(name, key, options, command),
  )
  withKeyOptions(map.command('scan <map>').description('entries, in no order'))
    .addOption(new Option('--limit <count>', 'no more than this many').argParser(wholeNumber('--limit', 0, Number.MAX_SAFE_INTEGER)))
    .option('--prefix <key>', 'only keys that begin so')
    .action((name: string, options: KeyOptions & { limit?: number; prefix?: string }, command: Command) => scan(name, options, command))
  map
    .command('stats [map]')
    .description('figures of one map or of all, per shard')
    .action((name: string | undefined, _options, command: Command) => stats(name, command))
  map
    .command('size <map>')
    .description('number of entries')
    .action((name: string, _options, command: Command) => size(name, command))
  map
    .command('clear <map>')
    .description('remove all entries')
    .action((name: string, _options, command: Command) => clear(name, command))
  withKeyOptions(map.command('create <map>').description('create a map'))
    .option('--ttl <duration>', 'time to live of entries written without one')
    .option('--max-idle <duration>', 'idle time of entries written without one')
    .option('--max-bytes <size>', 'primary bytes over the whole cluster, such as 512mb')
    .addOption(
      new Option('--eviction <policy>', 'at max-bytes: none refuses writes, lru and lfu make room').choices(['none', 'lru', 'lfu']),
    )
    .action(
      (name: string, options: KeyOptions & ExpiryFlags & { maxBytes?: string; eviction?: 'none' | 'lru' | 'lfu' }, command: Command) =>
        create(name, options, command),
    )
  map
    .command('destroy <map>')
    .description('remove the map and all its entries')
    .action((name: string, _options, command: Command) => destroy(name, command))
}

const withKeyOptions = (command: Command): Command =>
  command
    .option('--key-codec <codec>', 'string, int64, bytes (as hex) or tuple(...) (as a JSON list); default: what the map has, else string')
    .option('--key-space <name>', 'name of the key space; default: what the map has, else the name of the map')

interface OpenMap {
  readonly map: GridMap<AnyKey, unknown>
  readonly codec: KeyCodec
}

/** The map with the key space that it has, or the one that the options say. */
async function openMap(grid: Grid, name: string, options: KeyOptions): Promise<OpenMap> {
  const complete = options.keyCodec !== undefined && options.keySpace !== undefined
  const known = complete ? undefined : (await grid.maps.list()).find(info => info.name === name)
  const codec = asWritten(() => parseKeyCodec(options.keyCodec ?? known?.keyCodec ?? 'string'))
  return { map: grid.map(name, { name: options.keySpace ?? known?.keySpace ?? name, codec }), codec }
}

/** The map as it is; NOT_FOUND when there is none. */
async function openKnownMap(grid: Grid, name: string): Promise<GridMap<AnyKey, unknown>> {
  if (!(await grid.maps.list()).some(info => info.name === name)) throw noSuchMap(name)
  return (await openMap(grid, name, {})).map
}

const noSuchMap = (name: string): NearstateError => new NearstateError('NOT_FOUND', `There is no map "${name}"`)
const parseKey = (codec: KeyCodec, text: string): unknown => asWritten(() => readKey(codec, text))

async function get(name: string, key: string, keyOptions: KeyOptions, command: Command): Promise<void> {
  const options = globalOptions(command)
  const entry = await withGrid(options, async grid => {
    const { map, codec } = await openMap(grid, name, keyOptions)
    const parsed = parseKey(codec, key)
    const found = await map.getEntry(parsed)
    return found === undefined
      ? undefined
      : { key: keyJson(parsed), value: found.value, version: found.version, expiresAt: found.expiresAt ?? null }
  })
  if (entry === undefined) throw new NearstateError('NOT_FOUND', `There is no such entry in map "${name}"`)
  if (options.json) printJson(entry)
  else printLine(JSON.stringify(entry.value, undefined, process.stdout.isTTY ? 2 : undefined))
}

async function set(name: string, key: string, text: string, setOptions: KeyOptions & ExpiryFlags, command: Command): Promise<void> {
  const options = globalOptions(command)
  const value = parseJson('the value', text, `, a text as '"text"'`)
  await withGrid(options, async grid => {
    const { map, codec } = await openMap(grid, name, setOptions)
    await map.set(parseKey(codec, key), value, expiryOf(setOptions))
  })
  done(options, { stored: true }, 'Stored.')
}

async function remove(name: string, key: string, keyOptions: KeyOptions, command: Command): Promise<void> {
  const options = globalOptions(command)
  const deleted = await withGrid(options, async grid => {
    const { map, codec } = await openMap(grid, name, keyOptions)
    return map.delete(parseKey(codec, key))
  })
  done(options, { deleted }, deleted ? 'Deleted.' : 'There was no such entry.')
}

async function scan(name: string, scanOptions: KeyOptions & { limit?: number; prefix?: string }, command: Command): Promise<void> {
  const options = globalOptions(command)
  const limit = scanOptions.limit === undefined ? {} : { limit: scanOptions.limit }
  await withGrid(options, async grid => {
    const { map, codec } = await openMap(grid, name, scanOptions)
    const prefix =
      scanOptions.prefix === undefined ? {} : { prefix: codec === 'string' ? scanOptions.prefix : parseKey(codec, scanOptions.prefix) }
    for await (const { key, value, version, expiresAt } of map.scanEntries({ ...limit, ...prefix })) {
      if (options.json) printJson({ key: keyJson(key), value, version, expiresAt: expiresAt ?? null })
      else printLine(`${keyText(key)}\t${JSON.stringify(value)}`)
    }
  })
}

async function list(command: Command): Promise<void> {
  const options = globalOptions(command)
  const maps = await withGrid(options, async grid => {
    const [infos, nodes] = await Promise.all([grid.maps.list(), grid.cluster.stats()])
    return infos.map(info => {
      const figures = figuresOf(nodes, info.name)
      return { ...info, entries: sum(figures, 'entries'), bytes: sum(figures, 'bytes') }
    })
  })
  if (options.json) return printJson(maps)
  printTable(
    ['map', 'entries', 'bytes', 'keys', 'key space', 'ttl', 'max bytes', 'eviction'],
    maps.map(map => [
      map.name,
      map.entries,
      formatByteSize(map.bytes),
      map.keyCodec,
      map.keySpace,
      map.ttlMs === 0 ? '' : formatDuration(map.ttlMs),
      map.maxBytes === 0 ? '' : formatByteSize(map.maxBytes),
      map.eviction,
    ]),
  )
}

async function stats(name: string | undefined, command: Command): Promise<void> {
  const options = globalOptions(command)
  const nodes = await withGrid(options, async grid => {
    if (name !== undefined && !(await grid.maps.list()).some(info => info.name === name)) throw noSuchMap(name)
    return grid.cluster.stats()
  })
  const rows = figuresOf(nodes, name).sort((a, b) => (a.map < b.map ? -1 : a.map > b.map ? 1 : 0))
  if (options.json) return printJson(rows)
  printTable(
    ['map', 'node', 'shard', 'entries', 'bytes', 'evicted', 'expired'],
    rows.map(row => [row.map, row.node, row.shard, row.entries, formatByteSize(row.bytes), row.evicted, row.expired]),
  )
}

async function size(name: string, command: Command): Promise<void> {
  const options = globalOptions(command)
  const entries = await withGrid(options, async grid => (await openKnownMap(grid, name)).size())
  done(options, { map: name, entries }, String(entries))
}

async function clear(name: string, command: Command): Promise<void> {
  const options = globalOptions(command)
  await withGrid(options, async grid => (await openKnownMap(grid, name)).clear())
  done(options, { map: name, cleared: true }, 'Cleared.')
}

async function create(
  name: string,
  flags: KeyOptions & ExpiryFlags & { maxBytes?: string; eviction?: 'none' | 'lru' | 'lfu' },
  command: Command,
): Promise<void> {
  const options = globalOptions(command)
  const { keySpace = name, keyCodec = 'string', maxBytes, eviction } = flags
  const mapOptions: MapOptions = {
    key: { name: keySpace, codec: asWritten(() => parseKeyCodec(keyCodec)) },
    ...expiryOf(flags),
    ...(maxBytes === undefined ? {} : { maxBytes: asWritten(() => parseByteSize(maxBytes, '--max-bytes')) }),
    ...(eviction === undefined ? {} : { eviction }),
  }
  const info = await withGrid(options, grid => grid.maps.create(name, mapOptions))
  done(options, info, `Map "${name}" is there.`)
}

async function destroy(name: string, command: Command): Promise<void> {
  const options = globalOptions(command)
  await withGrid(options, grid => grid.maps.destroy(name))
  done(options, { map: name, destroyed: true }, `Map "${name}" and all its entries are gone.`)
}

function done(options: GlobalOptions, json: unknown, text: string): void {
  if (options.json) printJson(json)
  else printLine(text)
}

function checkDuration(option: string, duration: Duration): Duration {
  asWritten(() => parseDuration(duration, option))
  return duration
}

const expiryOf = ({ ttl, maxIdle }: ExpiryFlags): ExpiryFlags => ({
  ...(ttl === undefined ? {} : { ttl: checkDuration('--ttl', ttl) }),
  ...(maxIdle === undefined ? {} : { maxIdle: checkDuration('--max-idle', maxIdle) }),
})

interface MapRow {
  readonly map: string
  readonly node: string
  readonly shard: number
  readonly entries: number
  readonly bytes: number
  readonly evicted: number
  readonly expired: number
}

const figuresOf = (nodes: readonly NodeFigures[], map: string | undefined): MapRow[] =>
  nodes.flatMap(node =>
    node.shards.flatMap(shard =>
      shard.maps
        .filter(figures => (map === undefined ? !figures.name.startsWith('__') : figures.name === map))
        .map(({ name, entries, bytes, evicted, expired }) => ({
          map: name,
          node: node.name,
          shard: shard.shard,
          entries,
          bytes,
          evicted,
          expired,
        })),
    ),
  )

const sum = (rows: readonly MapRow[], field: 'entries' | 'bytes'): number => rows.reduce((total, row) => total + row[field], 0)
