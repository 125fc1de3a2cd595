/**
 * `console` inside a bundle: lines go to the node's log instead of its standard output, which programs may read.
 *
 * At most `linesPerSecondMax` lines a second; the others are dropped, and the next line that passes says how many.
 * Formatting runs user code (getters, inspect hooks), inside the slice that called.
 */
import { format } from 'node:util'
import type { JobAtWork } from './slice-runner.ts'

/** `job`: whose code wrote it, where that is known. */
export type UserLog = (level: 'info' | 'warn' | 'error', message: string, job?: JobAtWork) => void

const linesPerSecondMax = 100
const lineMaxLength = 4 * 1024

export function createUserConsole(log: UserLog, nowMs: () => number): Readonly<Record<string, (...data: unknown[]) => void>> {
  let secondStartMs = Number.NEGATIVE_INFINITY
  let lines = 0
  let dropped = 0
  const write = (level: 'info' | 'warn' | 'error', data: readonly unknown[]): void => {
    const now = nowMs()
    if (now - secondStartMs >= 1000) {
      secondStartMs = now
      lines = 0
    }
    if (lines >= linesPerSecondMax) {
      dropped += 1
      return
    }
    lines += 1
    const text = format(...data)
    const note = dropped === 0 ? '' : ` (${dropped} lines before it were dropped: the limit is ${linesPerSecondMax} a second)`
    dropped = 0
    log(level, (text.length <= lineMaxLength ? text : `${text.slice(0, lineMaxLength)}…`) + note)
  }
  const at =
    (level: 'info' | 'warn' | 'error') =>
    (...data: unknown[]): void =>
      write(level, data)
  return Object.freeze({
    log: at('info'),
    info: at('info'),
    debug: at('info'),
    warn: at('warn'),
    error: at('error'),
    trace: at('info'),
    dir: (value: unknown) => write('info', [value]),
    assert: (condition: unknown, ...data: unknown[]) => {
      if (!condition) write('error', ['assertion failed:', ...data])
    },
  })
}
