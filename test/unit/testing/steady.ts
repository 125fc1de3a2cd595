/**
 * What every operator promises, tried through the testing kit: what it gives does not depend on shards, units, interleavings,
 * back-pressure, units that are cut off and run again, or crashes at any point and restarts from the last checkpoint.
 *
 * A subject's rows of one key are fed into one split, so that the order of a key's rows is the same in every run. Outputs are compared
 * as bags of rows; a subject that wants an order compares what a row says of it.
 */
import { expect } from 'vitest'
import { randomInteger, seededRandom } from '../../../src/base/random.ts'
import type { Job } from '../../../src/streaming/graph/job.ts'
import { type TestJob, testJob, type TestJobOptions } from '../../../src/testing/test-job.ts'

export interface Subject {
  readonly name: string
  readonly job: Job<undefined>
  /** By source stage: rows in the order of their coming. */
  readonly rows: Readonly<Record<string, readonly unknown[]>>
  /** Rows with the same answer go into the same split. Default: the row's `k`. */
  readonly partOf?: (row: unknown) => unknown
  readonly maps?: TestJobOptions['maps']
  /** What must be the same; by default the rows of all stages named here and the content of all maps. */
  readonly stages: readonly string[]
  readonly writes?: readonly string[]
}

/** Chances per step, and how many crashes there may be. */
interface BadLuck {
  readonly crashes: number
  readonly crash: number
  readonly checkpoint: number
}

const splits = 2
const tight = { creditFrames: 1, waitingRowsMax: 4, frameRowsMax: 3 }

export async function expectSteady(subject: Subject, seeds = 8): Promise<void> {
  const expected = await outputsOf(subject, {}, undefined)
  for (const stage of subject.stages) expect((expected[stage] ?? []).length, `rows of ${stage}`).toBeGreaterThan(0)
  expect(await outputsOf(subject, { unitRows: 1 }, undefined), 'row by row').toEqual(expected)
  expect(await outputsOf(subject, { shards: 3 }, undefined), '3 shards').toEqual(expected)
  for (let seed = 1; seed <= seeds; seed += 1) {
    const hostile = { shards: 1 + (seed % 3), seed, cutOffs: 0.2, limits: tight, ...(seed % 2 === 0 ? { unitRows: 2 } : {}) }
    expect(await outputsOf(subject, hostile, seed), `seed ${seed}`).toEqual(expected)
    const found = await outputsOf(subject, hostile, seed, { crashes: 4, crash: 0.03, checkpoint: 0.1 })
    expect(found, `seed ${seed} with crashes`).toEqual(expected)
  }
}

/** With a seed rows are fed a few at a time while the job is somewhere in the midst of others. */
async function outputsOf(
  subject: Subject,
  options: TestJobOptions,
  seed: number | undefined,
  luck: BadLuck = { crashes: 0, crash: 0, checkpoint: 0 },
): Promise<Record<string, readonly string[]>> {
  const { job, rows, maps, stages, writes = [] } = subject
  const test = await testJob(job, { splits, manual: true, ...options, ...(maps === undefined ? {} : { maps }) })
  if (seed === undefined) {
    for (const [source, all] of Object.entries(rows)) for (const row of all) push(test, subject, source, [row])
    test.end()
    await toEnd(test, () => test.step())
  } else {
    await feedInPieces(test, subject, seed, luck)
  }
  expect(test.status).toBe('completed')
  const handedOn = stages.map(stage => [stage, texts(test.rowsOf(stage))] as const)
  const written = writes.map(map => [`map ${map}`, texts(test.map(map).entries())] as const)
  return Object.fromEntries([...handedOn, ...written])
}

async function feedInPieces(test: TestJob, subject: Subject, seed: number, luck: BadLuck): Promise<void> {
  const random = seededRandom(seed * 31)
  const left = new Map<string, unknown[]>(Object.entries(subject.rows).map(([source, all]) => [source, [...all]]))
  let crashesLeft = luck.crashes
  const step = (): boolean => {
    if (random.next() < luck.checkpoint) test.beginCheckpoint()
    if (crashesLeft > 0 && random.next() < luck.crash) {
      crashesLeft -= 1
      test.crash({ shards: 1 + randomInteger(random, 3) })
    }
    return test.step()
  }
  while (left.size > 0) {
    const [source, all] = [...left][randomInteger(random, left.size)] ?? ['', []]
    push(test, subject, source, all.splice(0, 1 + randomInteger(random, 6)))
    if (all.length === 0) left.delete(source)
    let steps = randomInteger(random, 12)
    while (steps > 0 && step()) steps -= 1
    // Promises of the rows so far, or of some of them.
    if (random.next() < 0.2) await nextTurn()
  }
  test.end()
  await toEnd(test, step)
}

/** Steps, and turns of the event loop when nothing moves without them. */
async function toEnd(test: TestJob, step: () => boolean): Promise<void> {
  for (let turns = 0; turns < turnsMax && test.status === 'running'; turns += 1) {
    let isMore = true
    while (isMore) isMore = step()
    if (test.status === 'running') await nextTurn()
  }
}

const turnsMax = 5000
const nextTurn = (): Promise<void> =>
  new Promise<void>(resolve => {
    setImmediate(resolve)
  })

function push(test: TestJob, { partOf = keyOf }: Subject, source: string, rows: readonly unknown[]): void {
  for (const row of rows) test.source(source).push([row], { split: partNumber(partOf(row)) })
}

const keyOf = (row: unknown): unknown => (row as { readonly k?: unknown }).k

function partNumber(part: unknown): number {
  let sum = 0
  for (const character of String(part)) sum += character.charCodeAt(0)
  return sum % splits
}

const texts = (rows: readonly unknown[]): readonly string[] => rows.map(row => JSON.stringify(row)).sort()
