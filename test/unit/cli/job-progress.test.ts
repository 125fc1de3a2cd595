import { expect, it } from 'vitest'
import { ProgressLine } from '../../../src/cli/job.ts'
import type { JobStatus } from '../../../src/client/jobs.ts'

const status = (rows: number, deadLetters = 0): JobStatus =>
  ({ status: 'running', stages: [{ name: 'lines', kind: 'source', rowsOut: rows, deadLetters }] }) as unknown as JobStatus

it('tells the rate of the rows that came while it watched, not of those from before', () => {
  const line = new ProgressLine()
  expect(line.of(status(21_000), 1000)).toBe('21,000 rows in')
  expect(line.of(status(21_600), 3000)).toBe('21,600 rows in, 300/s over 2.0s')
  expect(line.of(status(20_900, 1), 4000)).toBe('20,900 rows in, 0/s over 3.0s, 1 dead letter')
})
