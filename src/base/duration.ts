import { invalidArgument } from './errors.ts'

/** A length of time as users write it: `'250ms'`, `'5s'`, `'1.5h'`, `'30d'`. */
export type Duration = `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds of a duration; INVALID_ARGUMENT names the text, `what` it was for, and the accepted form. */
export function parseDuration(text: string, what = 'duration'): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text)
  const unit = match?.[2] === undefined ? undefined : unitMs[match[2]]
  if (match === null || unit === undefined) {
    throw invalidArgument(`Cannot read ${what} "${text}": a number and one of ms, s, m, h, d is wanted, such as "5s"`)
  }
  const ms = Number(match[1]) * unit
  if (!Number.isSafeInteger(Math.round(ms))) throw invalidArgument(`Cannot read ${what} "${text}": too long`)
  return Math.round(ms)
}

/** Short text for people: `850ms`, `12.3s`, `4m 10s`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)}ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)}s`
  const minutes = Math.floor(ms / 60_000)
  if (minutes < 60) return `${minutes}m ${Math.round((ms % 60_000) / 1000)}s`
  const hours = Math.floor(minutes / 60)
  return hours < 24 ? `${hours}h ${minutes % 60}m` : `${Math.floor(hours / 24)}d ${hours % 24}h`
}
