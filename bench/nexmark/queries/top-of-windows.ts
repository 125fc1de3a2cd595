/** The rows with the greatest value in each tumbling window, all of them where several have it. */
import { defineAggregate, type Duration, type KeyedStage, tumbling } from 'nearstate/stream'
import type { WindowEnd } from '../keys.ts'

interface Best<Row> {
  value: number
  rows: Row[]
}

export function topOfWindows<Row>(
  rows: KeyedStage<typeof WindowEnd, Row>,
  name: string,
  size: Duration,
  valueOf: (row: Row) => number,
): KeyedStage<typeof WindowEnd, Row> {
  return rows.window(name, tumbling(size), { best: greatest(valueOf) }).flatMap(`${name}: rows`, ({ best }) => best)
}

/** The rows with the greatest value. */
export function greatest<Row>(valueOf: (row: Row) => number) {
  return defineAggregate<Row, Best<Row>, readonly Row[]>({
    create: () => ({ value: Number.NEGATIVE_INFINITY, rows: [] }),
    add(best, row) {
      const value = valueOf(row)
      if (value > best.value) {
        best.value = value
        best.rows = [row]
      } else if (value === best.value) {
        best.rows.push(row)
      }
      return best
    },
    combine(best, other) {
      if (other.value > best.value) return other
      if (other.value === best.value) best.rows.push(...other.rows)
      return best
    },
    finish: best => best.rows,
  })
}
