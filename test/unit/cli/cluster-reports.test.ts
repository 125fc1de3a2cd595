import { describe, expect, it } from 'vitest'
import { leaveReport, nodesReport, partitionsReport, statusReport } from '../../../src/cli/cluster-reports.ts'
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
  shards: [{ id: `${name}-s`, address: 'h:3' }],
  startedAt: 9,
})
const cluster = (change: Partial<ClusterDescription> = {}): ClusterDescription => ({
  cluster: 'c',
  version: 4,
  leader: 'a',
  coordinator: 'embedded',
  members: [member('a'), member('b')],
  partitions: [
    { epoch: 1, primary: { node: 'a', shard: 0 }, backups: [{ node: 'b', shard: 0, isInSync: true }] },
    { epoch: 2, primary: { node: 'b', shard: 0 }, backups: [{ node: 'a', shard: 0, isInSync: true }] },
  ],
  partitionCount: 2,
  backups: 1,
  valueMaxBytes: 1,
  ...change,
})
const figures = [
  {
    name: 'a',
    rssBytes: 50,
    shards: [{ shard: 0, entries: 3, bytes: 30, maps: [], operations: 0, refused: 0, connections: 0, copies: [], uncommitted: 0 }],
  },
]

describe('the report of a cluster', () => {
  it('is healthy when every member lives and every partition is served', () => {
    expect(statusReport(cluster(), figures)).toEqual({
      cluster: 'c',
      state: 'healthy',
      version: 4,
      nodes: 2,
      partitions: { total: 2, underReplicated: 0, migrating: 0, unavailable: 0, lost: 0 },
      leader: 'a',
      coordinator: 'embedded',
      entries: 3,
      bytes: 30,
    })
  })

  it('is degraded while it forms or a member is dead, lost when a partition is', () => {
    expect(statusReport(cluster({ partitions: [], leader: undefined }), []).state).toBe('degraded')
    expect(statusReport(cluster({ members: [member('a'), member('b', 'dead')] }), [])).toMatchObject({ state: 'degraded', nodes: 1 })
    const lost = cluster({ partitions: [{ epoch: 1, primary: undefined, backups: [] }] })
    expect(statusReport(lost, [])).toMatchObject({ state: 'lost', partitions: { lost: 1, underReplicated: 0 } })
    expect(partitionsReport(lost, [])).toEqual([{ partition: 0, epoch: 1, primary: null, backups: [], inSync: [] }])
  })

  it('is degraded while a copy is missing, and tells how far it is', () => {
    const filling = cluster({
      partitions: [{ epoch: 3, primary: { node: 'a', shard: 0 }, backups: [{ node: 'b', shard: 0, isInSync: false }] }],
    })
    const copying = figures.map(node => ({
      ...node,
      shards: node.shards.map(shard => ({ ...shard, copies: [{ partition: 0, shard: 'b-s', progress: 0.5 }] })),
    }))
    expect(statusReport(filling, [])).toMatchObject({ state: 'degraded', partitions: { underReplicated: 1, migrating: 1, unavailable: 0 } })
    expect(partitionsReport(filling, copying)).toEqual([
      {
        partition: 0,
        epoch: 3,
        primary: { node: 'a', shard: 0 },
        backups: [{ node: 'b', shard: 0 }],
        inSync: [{ node: 'a', shard: 0 }],
        migration: { to: { node: 'b', shard: 0 }, progress: 0.5 },
      },
    ])
  })

  it('is degraded while a member is suspected, and counts what only that one holds as unavailable', () => {
    const cut = cluster({
      members: [member('a'), member('b', 'suspect')],
      partitions: [
        { epoch: 1, primary: { node: 'a', shard: 0 }, backups: [] },
        { epoch: 2, primary: { node: 'b', shard: 0 }, backups: [] },
      ],
    })
    expect(statusReport(cut, [])).toMatchObject({ state: 'degraded', nodes: 1, partitions: { underReplicated: 2, unavailable: 1 } })
  })

  it('tells how far a node that leaves is', () => {
    expect(leaveReport(cluster(), 'a-id')).toEqual({ isGone: false, primaries: 1, copies: 2 })
    expect(leaveReport(cluster({ members: [member('b')] }), 'a-id')).toEqual({ isGone: true, primaries: 0, copies: 0 })
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
      backups: 1,
      entries: 3,
      bytes: 30,
      rssBytes: 50,
      startedAt: 9,
    })
  })
})
