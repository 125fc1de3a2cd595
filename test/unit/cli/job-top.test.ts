import { expect, it } from 'vitest'
import { compare } from '../../../src/cli/job-top.ts'
import type { JobStatus, StageStatus } from '../../../src/client/jobs.ts'

const stage: StageStatus = {
  name: 's',
  kind: 'map',
  tasks: 2,
  rowsIn: 1000,
  rowsOut: 500,
  deadLetters: 3,
  late: 0,
  watermark: 40_000,
  stateBytes: 10,
  busyMs: 1000,
  blockedMs: 0,
  batches: [],
}
const job = (one: Partial<StageStatus>, more: Partial<JobStatus> = {}): JobStatus =>
  ({ name: 'j', id: 'run-1', status: 'running', stages: [{ ...stage, ...one }], ...more }) as unknown as JobStatus
const at = (atMs: number, one: JobStatus) => ({ jobs: [one], atMs, wallTimeMs: 50_000 + atMs })

it('is per second and per task, with how far the watermark is behind', () => {
  const [top] = compare(at(0, job({})), at(2000, job({ rowsIn: 5000, rowsOut: 600, busyMs: 3000, blockedMs: 400, deadLetters: 4 })))
  expect(top?.stages[0]).toEqual({
    name: 's',
    kind: 'map',
    tasks: 2,
    rowsInPerSecond: 2000,
    rowsOutPerSecond: 50,
    busyShare: 0.5,
    blockedShare: 0.1,
    watermarkLagMs: 12_000,
    deadLetters: 4,
    stateBytes: 10,
  })
})

it('is nothing where counts went back, a run is another one, or the job does not run', () => {
  const none = { rowsInPerSecond: 0, rowsOutPerSecond: 0, busyShare: 0 }
  expect(compare(at(0, job({})), at(1000, job({ rowsIn: 0, rowsOut: 0, busyMs: 0 })))[0]?.stages[0]).toMatchObject(none)
  expect(compare(at(0, job({})), at(1000, job({ rowsIn: 9000 }, { id: 'run-2' })))[0]?.stages[0]).toMatchObject(none)
  const [suspended] = compare(at(0, job({})), at(1000, job({}, { status: 'suspended' })))
  expect(suspended).toMatchObject({ status: 'suspended', stages: [{ ...none, watermarkLagMs: null }] })
})
