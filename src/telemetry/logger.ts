/**
 * Logs: JSON lines in files and pipes, short lines for people on a terminal. The only importer of pino.
 *
 * Levels are `debug`, `info`, `warn`, `error` and `silent`. Keys, values and tokens of users never go into a log.
 * Writing is synchronous, so that nothing is lost when the process ends; log per event of the cluster, never per operation.
 */
import { styleText } from 'node:util'
import { pino } from 'pino'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>

export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

export interface LoggerOptions {
  readonly level: LogLevel
  /** Fields of every line. */
  readonly fields?: LogFields
  /** Default: standard error. */
  readonly output?: { readonly isTTY?: boolean; write(text: string): unknown }
}

export function createLogger(options: LoggerOptions): Logger {
  const output = options.output ?? process.stderr
  const destination =
    output.isTTY === true
      ? { write: (line: string) => void output.write(formatForPeople(line, Object.keys(options.fields ?? {}))) }
      : options.output === undefined
        ? pino.destination({ fd: 2, sync: true })
        : { write: (line: string) => void output.write(line) }
  const logger = pino({ level: options.level, base: options.fields ?? {}, formatters: { level: label => ({ level: label }) } }, destination)
  return {
    debug: (message, fields) => logger.debug(fields ?? {}, message),
    info: (message, fields) => logger.info(fields ?? {}, message),
    warn: (message, fields) => logger.warn(fields ?? {}, message),
    error: (message, fields) => logger.error(fields ?? {}, message),
  }
}

const levelMarks: Readonly<Record<string, string>> = {
  debug: styleText('gray', 'debug'),
  info: styleText('cyan', 'info '),
  warn: styleText('yellow', 'warn '),
  error: styleText('red', 'error'),
}

/** `12:30:01.250 info  node-1  joined the cluster  version=4`; anything that is no JSON line stays as it is. */
export function formatForPeople(line: string, commonFields: readonly string[] = []): string {
  let record: unknown
  try {
    record = JSON.parse(line)
  } catch {
    return line
  }
  if (typeof record !== 'object' || record === null) return line
  const { time, level, msg, ...fields } = record as Readonly<Record<string, unknown>>
  const clock = typeof time === 'number' ? new Date(time).toISOString().slice(11, 23) : ''
  const common = commonFields.map(name => String(fields[name] ?? '')).filter(text => text !== '')
  const rest = Object.entries(fields)
    .filter(([name, value]) => value !== undefined && !commonFields.includes(name))
    .map(([name, value]) => styleText('gray', `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`))
  return `${[styleText('gray', clock), levelMarks[String(level)] ?? level, ...common, msg, ...rest].join('  ')}\n`
}
