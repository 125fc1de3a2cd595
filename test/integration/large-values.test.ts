import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import { type RunningCluster, startCluster } from '../../src/node/embed.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const mebibyte = 1024 * 1024

describe('values in chunks', () => {
  let cluster: RunningCluster
  let grid: Grid

  beforeAll(async () => {
    cluster = await startCluster({ nodes: 1, shards: 1 })
    grid = await connect({ endpoints: cluster.endpoints, requestTimeout: '30s' })
  })
  afterAll(async () => {
    await grid?.close()
    await cluster?.stop()
  })

  it('are written by the dozen in one turn, though a stream holds 16 at a time', async () => {
    const map = grid.map('dozens')
    await map.setAll(Array.from({ length: 60 }, (_, i) => [`k${i}`, Buffer.alloc(300_000, i)] as const))
    const found = await map.getAll(Array.from({ length: 60 }, (_, i) => `k${i}`))
    expect([...found].every(([key, value]) => (value as Buffer).equals(Buffer.alloc(300_000, Number(key.slice(1)))))).toBe(true)
    expect(found.size).toBe(60)
  })

  it('are written together though their sum passes what a stream holds', async () => {
    const map = grid.map('sums')
    await Promise.all(Array.from({ length: 6 }, (_, i) => map.set(`k${i}`, Buffer.alloc(15 * mebibyte, i))))
    expect(await map.size()).toBe(6)
    await map.clear()
  })

  it('come in a scan, also the largest that can be written', async () => {
    const map = grid.map('scanned')
    const largest = Buffer.alloc(16 * mebibyte - 5, 7)
    await map.set('largest', largest)
    const seen: [string, unknown][] = []
    for await (const entry of map.scan()) seen.push(entry)
    expect(seen.length).toBe(1)
    expect(largest.equals(seen[0]?.[1] as Buffer)).toBe(true)
  })
})
