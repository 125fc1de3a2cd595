/** The first n rows by a comparison of the user's; equal ones in the order of their times, then of their coming. */
import { invalidArgument } from '../../base/errors.ts'
import { refusePromise } from '../graph/refuse-async.ts'

/** Negative: a ranks before b. */
export type Compare = (a: unknown, b: unknown) => number

export interface Ranked {
  readonly time: number
  readonly row: unknown
}

/** Where the row would rank, from 0; `ranking.length` or more: behind all. User code. */
export function rankOf(ranking: readonly Ranked[], { time, row }: Ranked, compare: Compare): number {
  let low = 0
  let high = ranking.length
  while (low < high) {
    const middle = (low + high) >> 1
    const other = ranking[middle] as Ranked
    const order = compare(row, other.row)
    refusePromise(order)
    if (typeof order !== 'number' || Number.isNaN(order)) throw invalidArgument('topN: its comparison must return a number')
    if (order < 0 || (order === 0 && time < other.time)) high = middle
    else low = middle + 1
  }
  return low
}

/** With the row at its rank, and no more than n. */
export function withRanked(ranking: readonly Ranked[], rank: number, ranked: Ranked, n: number): readonly Ranked[] {
  const next = [...ranking.slice(0, rank), ranked, ...ranking.slice(rank)]
  return next.length > n ? next.slice(0, n) : next
}

export const encodeRanking = (ranking: readonly Ranked[]): unknown => ranking.flatMap(({ time, row }) => [time, row])

export function decodeRanking(plain: unknown): readonly Ranked[] {
  const flat = plain as readonly unknown[]
  const ranking: Ranked[] = []
  for (let i = 0; i + 1 < flat.length; i += 2) ranking.push({ time: flat[i] as number, row: flat[i + 1] })
  return ranking
}
