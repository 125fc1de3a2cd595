/** `npm run nexmark -- generate --events N --seed S [--rate R] [--light] [--output FILE]`: the events as JSON lines, in order of n. */
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import type { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { parseArgs } from 'node:util'
import { NearstateError } from '../../src/base/errors.ts'
import type { Event } from './events.ts'
import { defaultRate, eventsOf } from './generator.ts'

const usage = `Usage: npm run nexmark -- generate --events N --seed S [--rate R] [--light] [--output FILE]

  --events N     how many events
  --seed S       events are a function of seed and number
  --rate R       events per second of event time (default ${defaultRate})
  --light        without the long texts
  --output FILE  where to write; default: standard output`

/** Lines are gathered to pieces of about this many characters. */
const pieceLength = 256 * 1024

async function main([command, ...args]: readonly string[]): Promise<void> {
  if (command === 'generate') return await generate(args)
  throw wrong(command === undefined ? 'a command is wanted' : `there is no command "${command}"`)
}

async function generate(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      events: { type: 'string' },
      seed: { type: 'string' },
      rate: { type: 'string' },
      light: { type: 'boolean', default: false },
      output: { type: 'string' },
    },
  })
  const events = wholeNumber('--events', values.events, 0)
  const eventAt = eventsOf({
    seed: wholeNumber('--seed', values.seed, 0),
    rate: values.rate === undefined ? defaultRate : wholeNumber('--rate', values.rate, 1),
    light: values.light,
  })
  if (values.output === undefined) return await writeEvents(eventAt, events, process.stdout)
  const file = createWriteStream(values.output)
  await Promise.all([writeEvents(eventAt, events, file).then(() => file.end()), finished(file)])
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
  console.error(`\n${usage}`)
  process.exitCode = 2
}
