import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { NodeId, ShardId } from '../../../src/base/ids.ts'
import type { ClusterState, Member } from '../../../src/membership/cluster-state.ts'
import { decodeClusterState, encodeClusterState } from '../../../src/membership/cluster-state-codec.ts'
import {
  assignInitial,
  emptyCluster,
  findMember,
  isLive,
  joinMember,
  leaveMember,
  liveMembers,
  lostCount,
  markDead,
  recoverLost,
  takeLeadership,
} from '../../../src/membership/transitions.ts'

const expected = { cluster: 'test', partitionCount: 12 }
const node = (name: string, incarnation = 1): NodeId => `${name}#${incarnation}` as NodeId
const member = (name: string, incarnation = 1): Member => ({
  name,
  id: node(name, incarnation),
  pid: incarnation,
  status: 'alive',
  zone: '',
  version: '0.1.0',
  address: `${name}:7400`,
  http: `${name}:7480`,
  shards: [0, 1].map(index => ({ id: `${name}#${incarnation}/${index}` as ShardId, address: `${name}:75${index}` })),
  startedAtMs: 5,
})
const join = (state: ClusterState, name: string, incarnation = 1): ClusterState => joinMember(state, member(name, incarnation), expected)
const formedOf = (...names: string[]): ClusterState =>
  assignInitial(
    names.reduce((state, name) => join(state, name), emptyCluster('test', 12)),
    names.length,
  )
const primariesOf = (state: ClusterState, id: NodeId): number => state.partitions.filter(({ primary }) => primary?.node === id).length
const epochsOf = (state: ClusterState): readonly number[] => state.partitions.map(({ epoch }) => epoch)

describe('joining', () => {
  it('makes the first member leader and gives out nothing yet', () => {
    const state = join(join(emptyCluster('test', 12), 'a'), 'b')
    expect(state).toMatchObject({ leader: 'a', partitions: [] })
    expect(state.members.map(({ name }) => name)).toEqual(['a', 'b'])
  })

  it('twice by the same process changes nothing', () => {
    const state = join(emptyCluster('test', 12), 'a')
    expect(join(state, 'a')).toBe(state)
  })

  it('is refused while another process lives under the name, and says where', () => {
    const state = join(emptyCluster('test', 12), 'a')
    expect(() => join(state, 'a', 2)).toThrow(
      expect.objectContaining({ code: 'ALREADY_EXISTS', message: expect.stringContaining('a:7400 (pid 1)') }),
    )
  })

  it('under the name of a dead one is a new incarnation that holds nothing', () => {
    const dead = markDead(formedOf('a', 'b'), node('a'))
    const state = join(dead, 'a', 2)
    expect(state.members.map(({ id }) => id)).toEqual([node('b'), node('a', 2)])
    expect(primariesOf(state, node('a', 2))).toBe(0)
    expect(lostCount(state)).toBe(lostCount(dead))
  })

  it('with another cluster or number of partitions in mind is refused', () => {
    const state = join(emptyCluster('test', 12), 'a')
    for (const other of [
      { cluster: 'prod', partitionCount: 12 },
      { cluster: 'test', partitionCount: 24 },
    ]) {
      expect(() => joinMember(state, member('b'), other)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    }
  })

  it('of a cluster that has formed takes no partition away', () => {
    const before = formedOf('a', 'b')
    const after = assignInitial(join(before, 'c'), 2)
    expect(after.partitions).toBe(before.partitions)
  })
})

describe('forming', () => {
  it('waits for the expected nodes, then spreads the partitions evenly with epoch 1', () => {
    const two = join(join(emptyCluster('test', 12), 'a'), 'b')
    expect(assignInitial(two, 3)).toBe(two)
    const state = assignInitial(two, 2)
    expect([primariesOf(state, node('a')), primariesOf(state, node('b'))]).toEqual([6, 6])
    expect(new Set(epochsOf(state))).toEqual(new Set([1]))
    expect(state.partitions.every(({ primary, inSync }) => inSync.length === 1 && inSync[0] === primary)).toBe(true)
  })

  it('does not count the dead', () => {
    const state = markDead(join(join(emptyCluster('test', 12), 'a'), 'b'), node('a'))
    expect(assignInitial(state, 2)).toBe(state)
  })
})

describe('a death', () => {
  it('loses what only that member held, with the next epoch, and passes leadership on', () => {
    const before = formedOf('a', 'b', 'c')
    const after = markDead(before, node('a'))
    expect(after.leader).toBe('b')
    expect(lostCount(after)).toBe(4)
    for (const [index, record] of after.partitions.entries()) {
      const old = before.partitions[index]
      if (old?.primary?.node === node('a')) expect(record).toEqual({ epoch: 2, primary: undefined, backups: [], inSync: [] })
      else expect(record).toBe(old)
    }
    expect(markDead(after, node('a'))).toBe(after)
  })

  it('promotes the first in-sync replica that is left', () => {
    const before = formedOf('a', 'b')
    const onA = { node: node('a'), shard: 'a#1/0' as ShardId }
    const onB = { node: node('b'), shard: 'b#1/0' as ShardId }
    const replicated = {
      ...before,
      partitions: before.partitions.map(record => ({ ...record, primary: onA, backups: [onB], inSync: [onA, onB] })),
    }
    const after = markDead(replicated, node('a'))
    expect(after.partitions[0]).toEqual({ epoch: 2, primary: onB, backups: [], inSync: [onB] })
    expect(markDead(replicated, node('b')).partitions[0]).toEqual({ epoch: 2, primary: onA, backups: [], inSync: [onA] })
  })

  it('of an unknown incarnation changes nothing', () => {
    const state = formedOf('a')
    expect(markDead(state, node('a', 9))).toBe(state)
  })

  it('of everybody leaves no leader', () => expect(markDead(formedOf('a'), node('a')).leader).toBeUndefined())
})

describe('leaving', () => {
  it('is forgotten at once by a member that holds nothing', () => {
    const state = leaveMember(join(formedOf('a'), 'b'), node('b'))
    expect(state.members.map(({ name }) => name)).toEqual(['a'])
  })

  it('loses what the member alone held', () => {
    const state = leaveMember(formedOf('a', 'b'), node('b'))
    expect(findMember(state, node('b'))?.status).toBe('dead')
    expect(lostCount(state)).toBe(6)
  })
})

describe('giving data up', () => {
  it('places the lost partitions on those who live, moves nothing else, and forgets the dead', () => {
    const lost = join(markDead(formedOf('a', 'b', 'c'), node('c')), 'd')
    const after = recoverLost(lost)
    expect(lostCount(after)).toBe(0)
    expect(after.members.map(({ name }) => name)).toEqual(['a', 'b', 'd'])
    expect(primariesOf(after, node('d'))).toBe(4)
    for (const [index, record] of after.partitions.entries()) {
      const old = lost.partitions[index]
      if (old?.primary === undefined) expect(record.epoch).toBe(3)
      else expect(record).toBe(old)
    }
    expect(recoverLost(after)).toBe(after)
  })

  it('needs somebody alive', () => {
    expect(() => recoverLost(markDead(formedOf('a'), node('a')))).toThrow(expect.objectContaining({ code: 'UNAVAILABLE' }))
  })
})

it('only a live member can take the lead', () => {
  const state = markDead(formedOf('a', 'b', 'c'), node('c'))
  expect(takeLeadership(state, node('b')).leader).toBe('b')
  expect(takeLeadership(state, node('c'))).toBe(state)
  expect(takeLeadership(state, node('x'))).toBe(state)
})

type Step = { readonly kind: 'join' | 'dead' | 'leave' | 'lead' | 'form' | 'recover'; readonly which: number }
const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.record({ kind: fc.constantFrom('join', 'join', 'dead', 'leave', 'lead', 'form', 'recover'), which: fc.nat(5) }),
  { maxLength: 30 },
)

function apply(state: ClusterState, { kind, which }: Step, incarnation: number): ClusterState {
  const name = `n${which}`
  const known = state.members.find(other => other.name === name)
  const id = known?.id ?? node(name)
  const next: Readonly<Record<Step['kind'], () => ClusterState>> = {
    join: () => (known !== undefined && isLive(known) ? state : join(state, name, incarnation)),
    dead: () => markDead(state, id),
    leave: () => leaveMember(state, id),
    lead: () => takeLeadership(state, id),
    form: () => assignInitial(state, which),
    recover: () => (liveMembers(state).length === 0 ? state : recoverLost(state)),
  }
  return next[kind]()
}

describe('any series of changes', () => {
  it('keeps the invariants 1 to 5, and the state survives its encoding', () =>
    fc.assert(
      fc.property(steps, series => {
        let state = emptyCluster('test', 12)
        for (const [index, step] of series.entries()) {
          const before = state
          state = apply(state, step, index + 2)
          expectSound(before, state)
        }
        expect(decodeClusterState(encodeClusterState(state))).toEqual(state)
      }),
      { numRuns: 150 },
    ))
})

function expectSound(before: ClusterState, after: ClusterState): void {
  const shards = new Set(liveMembers(after).flatMap(one => one.shards.map(({ id }) => `${one.id} ${id}`)))
  for (const [index, record] of after.partitions.entries()) {
    const old = before.partitions[index]
    if (old === undefined) continue
    const isSame = JSON.stringify([record.primary, record.inSync]) === JSON.stringify([old.primary, old.inSync])
    expect(record.epoch >= old.epoch + (isSame ? 0 : 1)).toBe(true)
    for (const replica of [...record.inSync, ...record.backups]) expect(shards).toContain(`${replica.node} ${replica.shard}`)
    if (record.primary !== undefined) expect(record.inSync).toContainEqual(record.primary)
  }
  expect(new Set(after.members.map(({ name }) => name)).size).toBe(after.members.length)
  if (before.partitions.length > 0) expect(after.partitions.length).toBe(12)
  const leader = after.members.find(({ name }) => name === after.leader)
  expect(leader === undefined ? liveMembers(after).length : Number(!isLive(leader))).toBe(0)
}

describe('the encoding', () => {
  it('stays small for many partitions', () => {
    const members = ['a', 'b', 'c'].map(name => member(name))
    const state = assignInitial({ ...emptyCluster('test', 5040), members, leader: 'a' }, 3)
    expect(encodeClusterState(state).length).toBeLessThan(100_000)
  })

  it.each([
    ['nonsense', /Cannot read cluster state of 8 bytes/],
    ['[]', /a field "format", got none/],
    ['{"format":2}', /its format is 2/],
    ['{"format":1,"partitionCount":1,"cluster":"x","members":[{"status":"odd"}],"partitions":[]}', /members\[0\] needs a status of/],
    ['{"format":1,"partitionCount":1,"cluster":"x","members":[],"partitions":[[1,7,[],[]]]}', /partitions\[0\].1 needs an index below 0/],
    ['{"format":1,"partitionCount":3,"cluster":"x","members":[],"partitions":[[1,null,[],[]]]}', /needs 3 partitions, got 1/],
    ['{"format":1,"partitionCount":"3"}', /state.partitionCount needs an integer, got string|a field "members"/],
  ])('of %s is refused and says what is wrong', (text, message) => {
    expect(() => decodeClusterState(Buffer.from(text))).toThrow(message)
  })
})
