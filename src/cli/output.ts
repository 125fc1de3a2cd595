/** How commands speak: tables and colour on a terminal, plain text in pipes, JSON with --json. */
import { styleText } from 'node:util'
import Table from 'cli-table3'
import { messageOf, NearstateError } from '../base/errors.ts'
import { UsageError } from './arguments.ts'

// Who reads may leave early (`| head`): what is left to say then is for nobody.
process.stdout.on('error', (failure: NodeJS.ErrnoException) => {
  if (failure.code !== 'EPIPE') throw failure
  process.exit()
})

export const isTerminal = (): boolean => process.stdout.isTTY

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

export function printLine(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** A table on a terminal; columns separated by tabs elsewhere. */
export function printTable(head: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
  if (!isTerminal()) {
    for (const row of [head, ...rows]) printLine(row.join('\t'))
    return
  }
  const table = new Table({
    head: head.map(title => styleText('bold', title)),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
    chars: {
      top: '',
      'top-mid': '',
      'top-left': '',
      'top-right': '',
      bottom: '',
      'bottom-mid': '',
      'bottom-left': '',
      'bottom-right': '',
      left: '',
      'left-mid': '',
      mid: '',
      'mid-mid': '',
      right: '',
      'right-mid': '',
      middle: '',
    },
  })
  table.push(...rows.map(row => row.map(String)))
  printLine(table.toString())
}

const barWidth = 30

/** A bar that is redrawn in place on a terminal; elsewhere, and with --json, nothing. */
export function progressBar(json: boolean): { show(part: number, text: string): void; end(): void } {
  const isShown = isTerminal() && !json
  let wasShown = false
  return {
    show(part, text) {
      if (!isShown) return
      wasShown = true
      const filled = Math.round(Math.min(1, Math.max(0, part)) * barWidth)
      process.stdout.write(`\r\u001b[K${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)}  ${text}`)
    },
    end() {
      if (wasShown) process.stdout.write('\r\u001b[K')
    },
  }
}

// By its text: it may come from a node's process.
const isPortInUse = (error: NearstateError): boolean => error.message.includes(': the port is in use;')

/** What a person can do about an error, beyond what its message says. */
function remedyOf(error: NearstateError): string | undefined {
  switch (error.code) {
    case 'UNAVAILABLE':
      if (isPortInUse(error)) return '"nearstate dev --port 7500" moves all ports of a development cluster; HTTP is 80 above.'
      return 'Is the cluster running? "nearstate dev" starts one here; --endpoint host:port names another.'
    case 'PARTITION_LOST':
      return 'All its copies were on nodes that died. "nearstate partitions recover --accept-loss" lets the lost partitions serve again, empty.'
    case 'DEADLINE_EXCEEDED':
    case 'OUTCOME_UNKNOWN':
      return 'Look at "nearstate status", or give more time with --timeout.'
    default:
      return undefined
  }
}

/** Lines of a stack that name a place; the message before them says what its error says. */
export const framesOf = (stack: string | undefined): readonly string[] => (stack ?? '').split('\n').filter(line => /^\s+at /.test(line))

/** Writes an error to standard error, as one JSON object with --json, and makes the exit code say so. */
export function reportError(thrown: unknown, json: boolean): void {
  process.exitCode = thrown instanceof UsageError ? 2 : 1
  const error = thrown instanceof NearstateError ? thrown : new NearstateError('INTERNAL', messageOf(thrown), { cause: thrown })
  const remedy = remedyOf(error)
  if (json) {
    const { code, message, retryable, functionStack } = error
    process.stderr.write(`${JSON.stringify({ error: { code, message, retryable, remedy, functionStack } })}\n`)
    return
  }
  process.stderr.write(`${styleText('red', 'error', { stream: process.stderr })} ${error.code}: ${error.message}\n`)
  for (const frame of framesOf(error.functionStack)) process.stderr.write(`${frame}\n`)
  if (remedy !== undefined) process.stderr.write(`${remedy}\n`)
  if (error.code === 'INTERNAL' && thrown instanceof Error && process.env['NEARSTATE_DEBUG'] !== undefined)
    process.stderr.write(`${thrown.stack}\n`)
}
