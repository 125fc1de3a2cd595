/** User code of jobs that misbehaves on a real cluster: what it does to the row, the job, and everybody else. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import { defineKey } from '../../src/keys/key-space.ts'
import { type RunningCluster, startCluster } from '../../src/node/embed.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

/** Events whose row never returns; all of one key, and so of one shard. */
const twoLoops = [1234, 1284]
const threeLoops = [...twoLoops, 3034]

const job = (name: string, onError: string, loops: readonly number[]): string => `
import { count, defineJob, defineKey, generator } from 'nearstate/stream'
const Id = defineKey('id', 'int64')
function strict(row: { n: number }): { n: number } {
  if (${JSON.stringify(loops)}.includes(row.n)) for (;;) { /* for ever */ }
  if (row.n === 500) throw new Error('five hundred')
  return row
}
export default defineJob('${name}', { onError: '${onError}' }, flow => {
  flow
    .source('numbers', generator({ events: n => ({ n }), count: 4000, splits: 2 }))
    .keyBy('by id', Id, row => row.n % 50)
    .map('strict', strict)
    .aggregate('counts', { n: count() })
    .sink('to counts', flow.map('${name}-counts', Id))
})
`

const lazyJob = (name: string, onError: string): string => `
import { defineJob, defineKey, generator } from 'nearstate/stream'
const Id = defineKey('id', 'int64')
const lazy = (row: { n: number }): object => row.n % 200 === 100 && row.n < 400 ? { get all(): number { for (;;); } } : row
export default defineJob('${name}', { onError: '${onError}' }, flow => {
  flow
    .source('numbers', generator({ events: n => ({ n }), count: 500, splits: 1 }))
    .map('with n', row => ({ n: row.n, row: lazy(row) }))
    .keyBy('by id', Id, row => row.n)
    .sink('to rows', flow.map('${name}-rows', Id))
})
`

describe('the user code of a job', () => {
  let cluster: RunningCluster
  let grid: Grid
  let folder: string

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'nearstate-'))
    cluster = await startCluster({ nodes: 2, shards: 2 })
    grid = await connect({ endpoints: cluster.endpoints, requestTimeout: '20s' })
  })

  afterAll(async () => {
    await grid?.close()
    await cluster?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const submit = async (
    name: string,
    onError: string,
    loops: readonly number[] = twoLoops,
    make = job,
  ): Promise<{ status: string; failure?: string | undefined }> => {
    const path = join(folder, `${name}.ts`)
    writeFileSync(path, make(name, onError, loops))
    await grid.jobs.submit(path)
    return vi.waitFor(
      async () => {
        const shown = await grid.jobs.get(name).status()
        expect(['completed', 'failed']).toContain(shown.status)
        return shown
      },
      { timeout: 30_000, interval: 100 },
    )
  }

  it('loses only the row that throws and the rows that never return, when the job goes on after errors', async () => {
    expect((await submit('goes-on', 'deadLetter')).status).toBe('completed')
    const counts = new Map<unknown, number>()
    for await (const [key, value] of grid.map('goes-on-counts', defineKey('id', 'int64')).scan())
      counts.set(key, (value as { n: number }).n)
    expect(counts.size).toBe(50)
    for (const [key, n] of counts) expect(n).toBe(key === 0 ? 79 : key === 34 ? 78 : 80)
    const letters: unknown[] = []
    for await (const [, value] of grid.map('goes-on.dead-letters').scan()) letters.push(value)
    expect(letters).toHaveLength(3)
    expect(letters).toContainEqual(expect.objectContaining({ stage: 'strict', line: 501, reason: 'five hundred', row: { n: 500 } }))
    const reason = expect.stringMatching(/^goes-on\/strict was stopped: it ran for longer than userCodeTimeLimit/) as string
    for (const n of twoLoops) expect(letters).toContainEqual(expect.objectContaining({ stage: 'strict', line: n + 1, reason }))
  })

  it('loses only the row whose getter never returns, wherever it is read', async () => {
    expect((await submit('getters', 'deadLetter', [], lazyJob)).status).toBe('completed')
    const keys: unknown[] = []
    for await (const [key] of grid.map('getters-rows', defineKey('id', 'int64')).scan()) keys.push(key)
    expect(keys).toHaveLength(498)
    const lines: unknown[] = []
    for await (const [, value] of grid.map('getters.dead-letters').scan()) lines.push((value as { line: number }).line)
    expect(lines.sort()).toEqual([101, 301])
  })

  it('fails the job at the third row of a stage that never returns', async () => {
    const { status, failure } = await submit('third-row', 'skip', threeLoops)
    expect(status).toBe('failed')
    expect(failure).toMatch(/Stage "strict" failed.*third-row\/strict was stopped.*quarantined.*A third row/)
  })

  it('fails the job by its name and line when it may not go on, and the grid serves on', async () => {
    const { status, failure } = await submit('gives-up', 'fail')
    expect(status).toBe('failed')
    expect(failure).toMatch(/Stage "strict" failed.*(five hundred|userCodeTimeLimit)/)
    const map = grid.map('still-here')
    await map.set('a', 1)
    expect(await map.get('a')).toBe(1)
  })
})
