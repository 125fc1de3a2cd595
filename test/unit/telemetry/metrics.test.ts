import { describe, expect, it } from 'vitest'
import { createMetrics, type NodeFigures } from '../../../src/telemetry/metrics.ts'

const figures: NodeFigures = {
  ready: true,
  leader: false,
  clusterVersion: 7,
  members: { alive: 3 },
  partitions: { total: 240, primary: 80, backup: 80, lost: 0, unavailable: 0, underReplicated: 3, migrating: 2 },
  promiseMisses: 4,
  history: { failovers: 80, handOvers: 7, migrations: 9 },
  shards: [
    {
      shard: 0,
      entries: 5,
      bytes: 600,
      operations: 9,
      refused: 1,
      connections: 2,
      uncommitted: 6,
      quarantinedFunctions: 0,
      maps: [{ name: 'm', entries: 5, bytes: 500, evicted: 0, expired: 3 }],
    },
  ],
  userCodeStops: 1,
  jobs: {},
}

describe('metrics', () => {
  it('show what the node collected', async () => {
    const text = await createMetrics(async () => figures).scrape()
    expect(text).toContain('nearstate_ready 1')
    expect(text).toContain('nearstate_partitions{state="primary"} 80')
    expect(text).toContain('nearstate_operations_total{shard="0"} 9')
    expect(text).toContain('nearstate_map_expired_total{shard="0",map="m"} 3')
    expect(text).toContain('nearstate_partitions{state="underReplicated"} 3')
    expect(text).toContain('nearstate_replication_lag_entries{shard="0"} 6')
    expect(text).toContain('nearstate_failovers_total 80')
    expect(text).toContain('nearstate_migrations_total 9')
    expect(text).toContain('nearstate_promise_misses_total 4')
    expect(text).toContain('process_cpu_seconds_total')
  })

  it('do not count twice over scrapes, and forget a map that is gone', async () => {
    let current = figures
    const metrics = createMetrics(async () => current)
    await metrics.scrape()
    current = { ...figures, shards: figures.shards.map(shard => ({ ...shard, maps: [] })) }
    const text = await metrics.scrape()
    expect(text).toContain('nearstate_operations_total{shard="0"} 9')
    expect(text).toContain('nearstate_failovers_total 80')
    expect(text).not.toContain('map="m"')
  })
})
