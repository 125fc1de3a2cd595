import { describe, expect, it } from 'vitest'
import { nodesReport, partitionsReport, statusReport } from '../../../src/cli/cluster-reports.ts'
import type { ClusterDescription, ClusterMember } from '../../../src/client/cluster-description.ts'

const member = (name: string, status = 'alive'): ClusterMember => ({
  name,
  id: `${name}-id`,
  pid: 7,
  status,
  zone: '',
  version: '1',
  address: 'h:1',
  http: 'h:2',
  shards: [{ id: 's', address: 'h:3' }],
  startedAt: 9,
})
const cluster = (change: Partial<ClusterDescription> = {}): ClusterDescription => ({
  cluster: 'c',
  version: 4,
  leader: 'a',
  coordinator: 'embedded',
  members: [member('a'), member('b')],
  partitions: [
    { epoch: 1, primary: { node: 'a', shard: 0 } },
    { epoch: 2, primary: { node: 'b', shard: 0 } },
  ],
  partitionCount: 2,
  valueMaxBytes: 1,
  ...change,
})
const figures = [
  { name: 'a', rssBytes: 50, shards: [{ shard: 0, entries: 3, bytes: 30, maps: [], operations: 0, refused: 0, connections: 0 }] },
]

describe('the report of a cluster', () => {
  it('is healthy when every member lives and every partition is served', () => {
    expect(statusReport(cluster(), figures)).toEqual({
      cluster: 'c',
      state: 'healthy',
      version: 4,
      nodes: 2,
      partitions: { total: 2, underReplicated: 0, migrating: 0, lost: 0 },
      leader: 'a',
      coordinator: 'embedded',
      entries: 3,
      bytes: 30,
    })
  })

  it('is degraded while it forms or a member is dead, lost when a partition is', () => {
    expect(statusReport(cluster({ partitions: [], leader: undefined }), []).state).toBe('degraded')
    expect(statusReport(cluster({ members: [member('a'), member('b', 'dead')] }), [])).toMatchObject({ state: 'degraded', nodes: 1 })
    const lost = cluster({ partitions: [{ epoch: 1, primary: undefined }] })
    expect(statusReport(lost, [])).toMatchObject({ state: 'lost', partitions: { lost: 1 } })
    expect(partitionsReport(lost)).toEqual([{ partition: 0, epoch: 1, primary: null, backups: [], inSync: [] }])
  })

  it('says of each node where it is and what it holds', () => {
    expect(nodesReport(cluster(), figures)[0]).toEqual({
      name: 'a',
      id: 'a-id',
      pid: 7,
      status: 'alive',
      zone: '',
      version: '1',
      shards: 1,
      address: 'h:1',
      http: 'h:2',
      primaries: 1,
      backups: 0,
      entries: 3,
      bytes: 30,
      rssBytes: 50,
      startedAt: 9,
    })
  })
})
