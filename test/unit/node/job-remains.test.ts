import { afterEach, expect, it, vi } from 'vitest'
import { EmbeddedCoordinator } from '../../../src/coordinator/embedded.ts'
import { type ClusterView, coordinatorKeys } from '../../../src/membership/cluster-state.ts'
import type { JobRecord, Remains } from '../../../src/node/job-record.ts'
import { JobRemains, type JobRemainsOptions } from '../../../src/node/job-remains.ts'
import { decodeJson, encodeJson } from '../../../src/node/watched-table.ts'
import { createLogger } from '../../../src/telemetry/logger.ts'
import { newRun, type RunStatus, withStatus } from '../../../src/streaming/master/record.ts'

const partitions = 4
const open: { stop(): void }[] = []
afterEach(() => {
  for (const one of open.splice(0)) one.stop()
})

/** A cluster of one node, whose answers to dropJob the test gives. */
function setUp() {
  const coordinator = new EmbeddedCoordinator()
  const drops: unknown[] = []
  const removed: string[] = []
  let there: readonly number[] = [0, 1, 2, 3]
  const state = { members: [{ status: 'alive' }], partitions: Array.from({ length: partitions }, () => ({})) }
  const options: JobRemainsOptions = {
    coordinator,
    log: createLogger({ level: 'silent' }),
    view: () => ({ state }) as unknown as ClusterView,
    controlOf: () =>
      ({
        dropJob: async (request: unknown) => {
          drops.push(request)
          return { partitions: there }
        },
      }) as unknown as ReturnType<JobRemainsOptions['controlOf']>,
    removeCode: async hash => void removed.push(hash),
  }
  const remains = new JobRemains(options)
  open.push(remains)
  return {
    remains,
    drops,
    removed,
    serve: (these: readonly number[]) => {
      there = these
    },
    put: async (status: RunStatus, what: Remains | undefined) => {
      const run = withStatus({ ...newRun('none'), attempt: 3 }, status)
      const record = { name: 'j', id: 'i', hash: 'h', collects: [], run, ...(what === undefined ? {} : { remains: what }) }
      const stored = await coordinator.read(coordinatorKeys.job('j'))
      await coordinator.compareAndSet(coordinatorKeys.job('j'), stored?.version ?? 0, encodeJson(record))
    },
    left: async () => {
      const stored = await coordinator.read(coordinatorKeys.job('j'))
      return stored === undefined ? undefined : decodeJson<JobRecord>(stored.value).remains
    },
  }
}

it('asks until no partition has anything left, then takes it off the record and removes the code', async () => {
  const { remains, drops, removed, serve, put, left } = setUp()
  await put('completed', { attempt: 3, keep: ['rows'] })
  serve([0, 1, 3])
  remains.lead()
  await vi.waitUntil(() => drops.length > 0)
  expect(await left()).toEqual({ attempt: 3, keep: ['rows'] })
  expect(removed).toEqual([])
  serve([0, 1, 2, 3])
  await vi.waitUntil(async () => (await left()) === undefined, { timeout: 5000 })
  expect(drops).toEqual([
    { job: 'j', attempt: 3, keep: ['rows'] },
    { job: 'j', attempt: 3, keep: ['rows'] },
  ])
  expect(removed).toEqual(['h'])
})

it('leaves alone what earlier runs have left until the new one runs, and its record while it does', async () => {
  const { remains, drops, removed, put, left } = setUp()
  await put('starting', { attempt: 2, keep: [] })
  remains.lead()
  await new Promise(resolve => setTimeout(resolve, 20))
  expect(drops).toEqual([])
  await put('running', { attempt: 2, keep: [] })
  remains.poke()
  await vi.waitUntil(() => drops.length > 0)
  remains.poke()
  await new Promise(resolve => setTimeout(resolve, 20))
  expect(drops).toEqual([{ job: 'j', attempt: 2, keep: [] }])
  expect(await left()).toEqual({ attempt: 2, keep: [] })
  await put('cancelled', { attempt: 3, keep: [] })
  remains.poke()
  await vi.waitUntil(async () => (await left()) === undefined)
  expect(drops).toHaveLength(2)
  expect(removed).toEqual(['h'])
})
