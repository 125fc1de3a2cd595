import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { redundancy } from '../../src/cli/demo-fault.ts'
import { Ledger } from '../../src/cli/ledger.ts'
import type { Grid } from '../../src/client/grid.ts'
import { HistoryLoad, violationsIn } from './histories.ts'

const signal = new AbortController().signal

/** Each run has maps of its own: a history begins with nothing. */
let runs = 0

/** Runs `fault` under both loads, and expects that nobody could tell. */
export async function unharmed(
  { grids, grid }: { readonly grids: readonly Grid[]; readonly grid: Grid },
  fault: () => Promise<void>,
): Promise<void> {
  runs += 1
  const histories = new HistoryLoad(grids, { map: `histories-${runs}`, keys: 8, pauseMs: 30 })
  const ledger = new Ledger(grids, grid.cluster.describe().partitionCount, { map: `ledger-${runs}`, pauseMs: 60 })
  await ledger.start()
  histories.start()
  try {
    await sleep(500)
    await fault()
    await redundancy(grid, signal)
    await sleep(300)
  } finally {
    ledger.abandon()
  }
  const { calls, failures } = await histories.stop()
  expect(violationsIn(calls)).toEqual([])
  const report = await ledger.stop()
  expect(report).toMatchObject({ acknowledgedWritesLost: 0, staleReads: 0, inventedReads: 0 })
  expect({ ...failures, ...report.failures }).toEqual({})
  expect(calls.length).toBeGreaterThan(200)
}
