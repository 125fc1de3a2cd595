import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { NodeId, ShardId } from '../../../src/base/ids.ts'
import type { ClusterState, Member } from '../../../src/membership/cluster-state.ts'
import { decodeClusterState, encodeClusterState } from '../../../src/membership/cluster-state-codec.ts'
import { recordEnd, recoverPartitions } from '../../../src/membership/recovery.ts'
import { formCluster, giveUpLost, recordDeath, returnMember, suspectMember } from '../../../src/membership/replica-transitions.ts'
import { emptyCluster, joinMember, liveMembers, lostCount, takeLeadership } from '../../../src/membership/transitions.ts'

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
  formCluster(
    names.reduce((state, name) => join(state, name), emptyCluster('test', 12)),
    names.length,
    0,
  )
const copiedOf = (...names: string[]): ClusterState => formCluster({ ...formedOf(...names), partitions: [] }, names.length, 1)
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
    const dead = recordDeath(formedOf('a', 'b'), node('a'))
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
})

describe('forming', () => {
  it('waits for the expected nodes, then spreads the partitions evenly with epoch 1', () => {
    const two = join(join(emptyCluster('test', 12), 'a'), 'b')
    expect(formCluster(two, 3, 0)).toBe(two)
    const state = formCluster(two, 2, 0)
    expect([primariesOf(state, node('a')), primariesOf(state, node('b'))]).toEqual([6, 6])
    expect(new Set(epochsOf(state))).toEqual(new Set([1]))
    expect(state.partitions.every(({ primary, inSync }) => inSync.length === 1 && inSync[0] === primary)).toBe(true)
  })

  it('does not count the dead', () => {
    const state = recordDeath(join(join(emptyCluster('test', 12), 'a'), 'b'), node('a'))
    expect(formCluster(state, 2, 0)).toBe(state)
  })

  it('makes as many copies as there are nodes for', () => {
    const alone = formCluster(join(emptyCluster('test', 12), 'a'), 1, 2)
    expect(alone.partitions.every(({ backups }) => backups.length === 0)).toBe(true)
  })
})

describe('the end of a member', () => {
  it('that alone held something leaves a dead member and lost partitions', () => {
    const state = recordEnd(formedOf('a', 'b'), node('b'))
    expect(state.members.map(({ status }) => status)).toEqual(['alive', 'dead'])
    expect(lostCount(state)).toBe(6)
  })

  it('whose copies others have is forgotten, and its partitions are led by them', () => {
    const state = recordEnd(copiedOf('a', 'b'), node('b'))
    expect(state.members.map(({ name }) => name)).toEqual(['a'])
    expect([lostCount(state), primariesOf(state, node('a'))]).toEqual([0, 12])
  })
})

describe('giving up what nobody within reach holds', () => {
  it('changes nothing while every partition is served', () => {
    const state = suspectMember(copiedOf('a', 'b', 'c'), node('c'))
    expect(recoverPartitions(state)).toEqual({ state, restored: 0, recovered: 0, declaredDead: [] })
  })

  it('declares dead those out of reach that are the last to hold something, and nobody else', () => {
    const before = [node('b'), node('c')].reduce((state, id) => suspectMember(state, id), copiedOf('a', 'b', 'c', 'd'))
    const lonely = before.partitions.filter(({ inSync }) =>
      inSync.every(replica => replica.node !== node('a') && replica.node !== node('d')),
    )
    const { state, recovered, declaredDead } = recoverPartitions(before)
    expect(lonely.length).toBeGreaterThan(0)
    expect(recovered).toBe(lonely.length)
    expect([lostCount(state), declaredDead]).toEqual([0, ['c']])
    for (const [partition, record] of before.partitions.entries()) {
      if (!lonely.includes(record)) expect(state.partitions[partition]?.givenUp).toBeUndefined()
    }
  })

  it('places lost partitions on those who live, moves nothing else, and forgets the dead', () => {
    const lost = join(recordDeath(formedOf('a', 'b', 'c'), node('c')), 'd')
    const { state, recovered } = recoverPartitions(lost)
    expect([recovered, lostCount(state)]).toEqual([4, 0])
    expect(state.members.map(({ name }) => name)).toEqual(['a', 'b', 'd'])
    for (const [index, record] of state.partitions.entries()) {
      const old = lost.partitions[index]
      if (old?.primary !== undefined) expect(record).toBe(old)
    }
    expect(recoverPartitions(state).state).toBe(state)
  })

  it('needs somebody within reach', () => {
    const state = recordDeath(formedOf('a'), node('a'))
    expect(recoverPartitions(state)).toEqual({ state, restored: 0, recovered: 0, declaredDead: [] })
  })
})

it('only a live member can take the lead', () => {
  const state = recordDeath(formedOf('a', 'b', 'c'), node('c'))
  expect(takeLeadership(state, node('b')).leader).toBe('b')
  expect(takeLeadership(state, node('c'))).toBe(state)
  expect(takeLeadership(state, node('x'))).toBe(state)
})

type Step = {
  readonly kind: 'join' | 'dead' | 'end' | 'suspect' | 'return' | 'lead' | 'form' | 'recover' | 'giveUp'
  readonly which: number
}
const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.record({
    kind: fc.constantFrom('join', 'join', 'dead', 'end', 'suspect', 'return', 'lead', 'form', 'recover', 'giveUp'),
    which: fc.nat(5),
  }),
  { maxLength: 30 },
)

function apply(state: ClusterState, { kind, which }: Step, incarnation: number): ClusterState {
  const name = `n${which}`
  const known = state.members.find(other => other.name === name)
  const id = known?.id ?? node(name)
  const isDead = known?.status === 'dead'
  const next: Readonly<Record<Step['kind'], () => ClusterState>> = {
    join: () => (known !== undefined && !isDead ? state : join(state, name, incarnation)),
    dead: () => recordDeath(state, id),
    end: () => recordEnd(state, id),
    suspect: () => (isDead ? state : suspectMember(state, id)),
    return: () => (isDead ? state : returnMember(state, id)),
    lead: () => takeLeadership(state, id),
    form: () => formCluster(state, which, 1),
    recover: () => recoverPartitions(state).state,
    giveUp: () => giveUpLost(state),
  }
  return next[kind]()
}

describe('any series of changes', () => {
  it('keeps names unique, epochs growing and replicas on members, and the state survives its encoding', () =>
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
    else expect(record.inSync).toEqual([])
  }
  expect(new Set(after.members.map(({ name }) => name)).size).toBe(after.members.length)
  if (before.partitions.length > 0) expect(after.partitions.length).toBe(12)
}

describe('the encoding', () => {
  it('stays small for many partitions', () => {
    const members = ['a', 'b', 'c'].map(name => member(name))
    const state = formCluster({ ...emptyCluster('test', 5040), members, leader: 'a' }, 3, 1)
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
