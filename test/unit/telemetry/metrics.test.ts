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
  jobs: [
    {
      name: 'spend',
      status: 'running',
      restarts: 1,
      checkpoints: 7,
      checkpoint: { at: 0, durationMs: 250, bytes: 900 },
      stages: [
        { name: 's', rowsIn: 4, rowsOut: 3, deadLetters: 1, late: 0, watermark: null, stateBytes: 64, busyMs: 1500, blockedMs: 500 },
      ],
      hottest: [{ stage: 'by id', share: 0.25 }],
    },
  ],
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
    expect(text).toContain('nearstate_jobs{status="running"} 1')
    expect(text).toContain('nearstate_job_checkpoint_seconds{job="spend"} 0.25')
    expect(text).toContain('nearstate_job_rows_in_total{job="spend",stage="s"} 4')
    expect(text).toContain('nearstate_job_blocked_seconds_total{job="spend",stage="s"} 0.5')
    expect(text).toContain('nearstate_job_hottest_key_share{job="spend",stage="by id"} 0.25')
    expect(text).not.toContain('nearstate_job_watermark_lag_seconds{')
    expect(text).toContain('process_cpu_seconds_total')
  })

  it('do not count twice over scrapes, and forget a map and a job that are gone', async () => {
    let current = figures
    const metrics = createMetrics(async () => current)
    await metrics.scrape()
    current = { ...figures, shards: figures.shards.map(shard => ({ ...shard, maps: [] })), jobs: [] }
    const text = await metrics.scrape()
    expect(text).toContain('nearstate_operations_total{shard="0"} 9')
    expect(text).toContain('nearstate_failovers_total 80')
    expect(text).not.toContain('map="m"')
    expect(text).not.toContain('job="spend"')
  })
})
