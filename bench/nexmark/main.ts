/** `npm run nexmark -- generate ...`: the events as JSON lines, in order of n. `npm run nexmark -- run Q ...`: a query's result as CSV. `verify`: that it is always the same. */
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import type { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { parseArgs } from 'node:util'
import { parseDuration } from '../../src/base/duration.ts'
import { NearstateError } from '../../src/base/errors.ts'
import type { Event } from './events.ts'
import { defaultRate, eventsOf, type GeneratorOptions } from './generator.ts'
import { isQuery, type QueryName, queryNames } from './queries/all.ts'
import type { RunOptions } from './run.ts'

const usage = `Usage: npm run nexmark -- generate --events N --seed S [--rate R] [--light] [--output FILE]
       npm run nexmark -- run Q --events N --seed S [--rate R] [--light] [--nodes K] [--shards S] [--disorder 5s]
                              [--kill-after 2s] [--output FILE]
       npm run nexmark -- verify [Q...] --events N --seed S [--rate R] [--light] [--nodes K] [--shards S] [--disorder 5s]
                              [--kill-after 2s]     every query (or these) against a run in order on one node, byte for byte

  Q                  ${queryNames.join(', ')}
  --events N         how many events
  --seed S           events are a function of seed and number
  --rate R           events per second of event time (default ${defaultRate})
  --light            without the long texts
  --output FILE      where to write; default: standard output
  --nodes K          node processes (default 1; 3 with --kill-after)
  --shards S         shards of each node (default 1)
  --disorder 5s      events come out of order by up to so much event time
  --kill-after 2s    a node is killed so long after the job has begun, and the events last longer than twice that long`

/** Lines are gathered to pieces of about this many characters. */
const pieceLength = 256 * 1024

async function main([command, ...args]: readonly string[]): Promise<void> {
  if (command === 'generate') return await generate(args)
  if (command === 'run') return await run(args)
  if (command === 'verify') return await verifyAll(args)
  throw wrong(command === undefined ? 'a command is wanted' : `there is no command "${command}"`)
}

const eventOptions = {
  events: { type: 'string' },
  seed: { type: 'string' },
  rate: { type: 'string' },
  light: { type: 'boolean', default: false },
  output: { type: 'string' },
} as const

interface EventValues {
  readonly seed?: string | undefined
  readonly rate?: string | undefined
  readonly light: boolean
}

const eventArguments = ({ seed, rate, light }: EventValues): GeneratorOptions => ({
  seed: wholeNumber('--seed', seed, 0),
  rate: rate === undefined ? defaultRate : wholeNumber('--rate', rate, 1),
  light,
})

async function generate(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: eventOptions })
  const events = wholeNumber('--events', values.events, 0)
  const eventAt = eventsOf(eventArguments(values))
  if (values.output === undefined) return await writeEvents(eventAt, events, process.stdout)
  const file = createWriteStream(values.output)
  await Promise.all([writeEvents(eventAt, events, file).then(() => file.end()), finished(file)])
}

const runOptions = {
  ...eventOptions,
  nodes: { type: 'string' },
  shards: { type: 'string' },
  disorder: { type: 'string' },
  'kill-after': { type: 'string' },
} as const

type RunValues = ReturnType<typeof parseRun>['values']

const parseRun = (args: string[]) => parseArgs({ args, allowPositionals: true, options: runOptions })

async function run(args: string[]): Promise<void> {
  const { values, positionals } = parseRun(args)
  const [query = '', ...others] = positionals
  if (others.length > 0) throw wrong(`one query at a time, got "${others[0]}" too`)
  const options = optionsOf(values, checkedQuery(query))
  const { runQuery } = await import('./run.ts')
  const { csv } = await runQuery(options)
  if (values.output === undefined) process.stdout.write(csv)
  else await writeFile(values.output, csv)
}

async function verifyAll(args: string[]): Promise<void> {
  const { values, positionals } = parseRun(args)
  if (values.output !== undefined) throw wrong('verify writes no rows, so it takes no --output')
  const queries = positionals.length === 0 ? queryNames : positionals.map(checkedQuery)
  const { verify } = await import('./verify.ts')
  let differing = 0
  for await (const { query, rows, restarts, seconds, wrong } of verify(queries, query => optionsOf(values, query))) {
    if (wrong !== undefined) differing += 1
    console.log(
      `${query.padEnd(4)}${String(rows).padStart(8)} rows  ${seconds.toFixed(1).padStart(6)} s  ${restarts} restarts  ${wrong ?? 'same'}`,
    )
  }
  console.log(`${queries.length - differing} of ${queries.length} the same as in order on one node`)
  if (differing > 0) process.exitCode = 1
}

function checkedQuery(query: string): QueryName {
  if (isQuery(query)) return query
  throw wrong(`there is no query "${query}"`)
}

function optionsOf(values: RunValues, query: QueryName): RunOptions {
  const killAfter = values['kill-after']
  const killAfterMs = killAfter === undefined ? undefined : parseDuration(killAfter, '--kill-after')
  const nodes = values.nodes === undefined ? (killAfter === undefined ? 1 : 3) : wholeNumber('--nodes', values.nodes, 1)
  if (killAfterMs !== undefined && nodes === 1) throw wrong('--kill-after needs at least two --nodes: somebody must go on')
  if (killAfterMs !== undefined && killAfterMs < 1) throw wrong('--kill-after must be at least 1ms')
  return {
    args: {
      query,
      events: wholeNumber('--events', values.events, 0),
      ...eventArguments(values),
      disorderMs: values.disorder === undefined ? 0 : parseDuration(values.disorder, '--disorder'),
    },
    nodes,
    shards: values.shards === undefined ? 1 : wholeNumber('--shards', values.shards, 1),
    ...(killAfterMs === undefined ? {} : { killAfterMs }),
  }
}

async function writeEvents(eventAt: (n: number) => Event, count: number, to: Writable): Promise<void> {
  let piece = ''
  for (let n = 0; n < count; n += 1) {
    piece += `${JSON.stringify(eventAt(n))}\n`
    if (piece.length < pieceLength) continue
    if (!to.write(piece)) await once(to, 'drain')
    piece = ''
  }
  to.write(piece)
}

function wholeNumber(option: string, text: string | undefined, least: number): number {
  const value = text === undefined || text.trim() === '' ? Number.NaN : Number(text)
  if (Number.isSafeInteger(value) && value >= least) return value
  throw wrong(`${option} is ${text === undefined ? 'missing' : `"${text}"`}, a whole number from ${least} is wanted`)
}

function wrong(what: string): NearstateError {
  return new NearstateError('INVALID_ARGUMENT', `Cannot run NEXMark: ${what}`)
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1) // whoever read has seen enough
})

try {
  await main(process.argv.slice(2))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  const isUsage = error instanceof NearstateError && error.code === 'INVALID_ARGUMENT'
  if (isUsage || (error instanceof TypeError && 'code' in error)) console.error(`\n${usage}`)
  process.exitCode = isUsage ? 2 : 1
}
