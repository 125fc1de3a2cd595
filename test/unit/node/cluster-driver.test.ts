import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { coordinatorKeys, type ClusterState } from '../../../src/membership/cluster-state.ts'
import { decodeClusterState, encodeClusterState } from '../../../src/membership/cluster-state-codec.ts'
import { recordDeath } from '../../../src/membership/replica-transitions.ts'
import { advance, clock, cuttable, DriverCluster, type TestNode, useFakeTimers } from './driver-cluster.ts'

let cluster: DriverCluster

beforeEach(useFakeTimers)
afterEach(async () => {
  await cluster.stop()
  vi.useRealTimers()
})

const statusOf = (state: ClusterState, name: string): string | undefined => state.members.find(member => member.name === name)?.status
const ledBy = (state: ClusterState, node: TestNode): number => state.partitions.filter(({ primary }) => primary?.node === node.id).length
const isWhole = (state: ClusterState, copies: number): boolean => state.partitions.every(({ inSync }) => inSync.length === copies)

async function three(): Promise<[TestNode, TestNode, TestNode]> {
  cluster = new DriverCluster(3)
  return (await cluster.start('a', 'b', 'c')) as [TestNode, TestNode, TestNode]
}

describe('nodes that start', () => {
  it('form a cluster once all are there, and their shards learn it with the promises', async () => {
    const nodes = await three()
    for (const node of nodes) {
      expect([node.state.partitions.length, isWhole(node.state, 2)]).toEqual([12, true])
      expect(node.command?.view).toEqual(node.feed.view)
      expect(node.command?.promisedUntilMs).toHaveLength(12)
    }
    const [a, b, c] = nodes
    await advance(500)
    for (const other of [b, c]) {
      const promise = a.held(other)
      expect(promise?.version).toBe(a.feed.view?.version)
      expect(promise?.untilMs).toBeGreaterThan(clock.nowMs())
    }
    expect(nodes.filter(({ driver }) => driver.leads)).toHaveLength(1)
  })

  it('under a name that a live node has are refused after two times to live', async () => {
    await three()
    const second = cluster.add('b', 2)
    const refusal = expect(second.driver.join(second.member)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
    await advance(7000)
    await refusal
    expect(second.logged).toContain('waiting for the session of an earlier process under this name to lapse')
    expect(cluster.nodes[1]?.deposed).toEqual([])
  })

  it('wait for a coordinator that cannot be reached, and say so', async () => {
    cluster = new DriverCluster(1)
    const coordinator = cuttable(cluster.coordinator)
    coordinator.isCut = true
    const node = cluster.add('a', 1, coordinator)
    const joined = node.driver.join(node.member)
    await advance(20_000)
    expect(node.logged).toEqual(['the coordinator cannot be reached; data is served all the same, changes of members and jobs wait'])
    coordinator.isCut = false
    await advance(5000)
    await joined
    expect(statusOf(node.state, 'a')).toBe('alive')
  })
})

describe('a coordinator that has lost the cluster state', () => {
  it('is told of loudly by every node, and changes nothing of the table that they serve by', async () => {
    const nodes = await three()
    const before = nodes.map(({ feed }) => feed.view)
    const { coordinator } = cluster
    const known = await coordinator.read(coordinatorKeys.cluster)
    await coordinator.compareAndSet(coordinatorKeys.cluster, known?.version ?? 0, undefined)
    await advance(5000)
    for (const node of nodes) expect(node.logged.filter(line => line.startsWith('the coordinator has lost the state'))).toHaveLength(1)
    expect(nodes.map(({ feed }) => feed.view)).toEqual(before)
    expect(nodes.flatMap(({ deposed }) => deposed)).toEqual([])
  })
})

describe('a node that is killed', () => {
  it('is suspected at once by those who are refused, and its backups take over', async () => {
    const [a, b, c] = await three()
    await b.kill()
    await advance(400)
    expect(statusOf(a.state, 'b')).toBe('suspect')
    expect([ledBy(a.state, a) + ledBy(a.state, c), ledBy(a.state, b)]).toEqual([12, 0])
    // The copies are built on the two that are left.
    await advance(2000)
    expect(isWhole(c.state, 2)).toBe(true)
  })

  it('is replaced by a process of its name as soon as its session has lapsed, and gets its share again', async () => {
    const [a, b] = await three()
    await b.kill()
    // Its session is not renewed any more.
    const held = await cluster.coordinator.read(coordinatorKeys.session('b'))
    const again = cluster.add('b', 2)
    const joined = again.driver.join(again.member)
    await advance(1000)
    expect(statusOf(a.state, 'b')).toBe('suspect')
    await cluster.coordinator.compareAndSet(coordinatorKeys.session('b'), held?.version ?? 0, undefined)
    await advance(3000)
    await joined
    expect(a.state.members.map(({ id, status }) => `${id} ${status}`).sort()).toEqual(['a#1 alive', 'b#2 alive', 'c#1 alive'])
    expect([isWhole(a.state, 2), ledBy(a.state, again)]).toEqual([true, 4])
  })

  it('leads no more: the next one decides about it', async () => {
    const [a, b] = await three()
    await a.kill()
    await advance(1000)
    expect([b.state.leader, statusOf(b.state, 'a'), b.driver.leads]).toEqual(['b', 'suspect', true])
  })
})

describe('a node that is silent', () => {
  it('is suspected after a second, and a member again when it is heard', async () => {
    const [a, b, c] = await three()
    b.reach = 'silent'
    await advance(700)
    expect(statusOf(a.state, 'b')).toBe('alive')
    await advance(1000)
    expect(statusOf(c.state, 'b')).toBe('suspect')
    expect(a.held(b)?.untilMs).toBeLessThan(clock.nowMs())
    expect(a.driver.promiseMisses).toBeGreaterThan(0)
    b.reach = 'there'
    await advance(3000)
    expect([statusOf(a.state, 'b'), isWhole(a.state, 2), b.deposed]).toEqual(['alive', true, []])
  })
})

describe('a process that stood still', () => {
  it('suspects nobody for its own silence', async () => {
    cluster = new DriverCluster(2)
    const [a, b] = (await cluster.start('a', 'b')) as [TestNode, TestNode]
    const versions = [a, b].map(node => node.feed.view?.version)
    // The clock goes on while no timer runs; then everybody looks before anybody is heard.
    for (const node of [a, b]) node.skew += 5000
    cluster.coordinator.startSession(coordinatorKeys.session('x'), Buffer.from('{"id":"x#1"}'), 60_000)
    await advance(600)
    expect([a, b].map(node => node.feed.view?.version)).toEqual(versions)
  })
})

describe('the coordinator', () => {
  it('may be away: nodes live on and hold promises, and changes wait until it is back', async () => {
    cluster = new DriverCluster(2)
    const coordinator = cuttable(cluster.coordinator)
    const nodes = ['a', 'b'].map(name => cluster.add(name, 1, coordinator))
    const joined = Promise.all(nodes.map(node => node.driver.join(node.member)))
    await advance(1000)
    await joined
    const [a, b] = nodes as [TestNode, TestNode]
    coordinator.isCut = true
    await advance(60_000)
    expect([a.deposed, b.deposed]).toEqual([[], []])
    expect(a.held(b)?.untilMs).toBeGreaterThan(clock.nowMs())
    await b.kill()
    await advance(5000)
    expect(statusOf(a.state, 'b')).toBe('alive')
    coordinator.isCut = false
    await advance(2000)
    expect([statusOf(a.state, 'b'), ledBy(a.state, a)]).toEqual(['suspect', 12])
  })

  it('may forget a session: the node opens another and goes on', async () => {
    const [a, b] = await three()
    const held = await cluster.coordinator.read(coordinatorKeys.session('b'))
    vi.spyOn(cluster.coordinator, 'renewSession').mockReturnValue(false)
    await cluster.coordinator.compareAndSet(coordinatorKeys.session('b'), held?.version ?? 0, undefined)
    await advance(5000)
    expect(b.deposed).toEqual([])
    expect(statusOf(a.state, 'b')).toBe('alive')
  })
})

describe('a node that leaves', () => {
  it('hands over what it leads, waits until its copies are elsewhere, and is forgotten', async () => {
    const [a, b, c] = await three()
    const left = b.driver.leave()
    await advance(5000)
    await left
    expect(statusOf(a.state, 'b')).toBeUndefined()
    expect([isWhole(a.state, 2), ledBy(a.state, a), ledBy(a.state, c)]).toEqual([true, 6, 6])
    expect(b.deposed).toEqual([])
    await b.driver.stop('left')
    expect(await cluster.coordinator.read(coordinatorKeys.session('b'))).toBeUndefined()
  })

  it('goes when its time is over, and its partitions pass on by its death', async () => {
    const [a, b] = await three()
    b.shardsWork = false
    const left = b.driver.leave()
    await advance(11_000)
    await left
    expect(b.logged).toContain('the time to leave is over; what this node alone holds is lost')
    await b.driver.stop('left')
    await advance(100)
    expect([statusOf(a.state, 'b'), ledBy(a.state, b)]).toEqual([undefined, 0])
    expect(a.state.partitions.every(({ primary }) => primary !== undefined)).toBe(true)
  })

  it('does not wait where nobody stays', async () => {
    cluster = new DriverCluster(1)
    const [only] = (await cluster.start('a')) as [TestNode]
    await only.driver.leave()
    await only.driver.stop('left')
    const stored = await cluster.coordinator.read(coordinatorKeys.cluster)
    expect(decodeClusterState(stored?.value ?? new Uint8Array()).partitions.every(({ primary }) => primary?.node === only.id)).toBe(true)
  })

  it('may be asked by an operator; the last one may not', async () => {
    const [a, b] = await three()
    await a.driver.askToLeave('b')
    await advance(100)
    expect([b.leaveAsked > 0, statusOf(b.state, 'b')]).toEqual([true, 'leaving'])
    await expect(a.driver.askToLeave('x')).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await a.driver.askToLeave('a')
    await expect(b.driver.askToLeave('c')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

describe('a node that fails', () => {
  it('says so: its backups take over without waiting to be sure', async () => {
    const [a, b] = await three()
    await b.driver.stop('failure')
    await advance(10)
    expect([statusOf(a.state, 'b'), ledBy(a.state, b), a.state.partitions.every(({ primary }) => primary !== undefined)]).toEqual([
      'dead',
      0,
      true,
    ])
  })

  it('ends, once, when the table counts it as dead', async () => {
    const [a, b] = await three()
    const stored = await cluster.coordinator.read(coordinatorKeys.cluster)
    const state = recordDeath(a.state, b.id)
    await cluster.coordinator.compareAndSet(coordinatorKeys.cluster, stored?.version ?? 0, encodeClusterState(state))
    await advance(2000)
    expect(b.deposed).toHaveLength(1)
    expect(b.deposed[0]).toMatch(/counts this process as dead/)
    await expect(b.driver.beat({ from: a.id, to: b.id, version: 1n, sentAtMs: 0, suspects: [] })).rejects.toMatchObject({
      code: 'CANCELLED',
    })
  })

  it('and is given up by an operator frees its partitions, empty', async () => {
    cluster = new DriverCluster(2, 0)
    const [a, b] = (await cluster.start('a', 'b')) as [TestNode, TestNode]
    await b.kill()
    await advance(2000)
    expect([statusOf(a.state, 'b'), ledBy(a.state, b)]).toEqual(['suspect', 6])
    expect(await a.driver.recoverPartitions()).toBe(6)
    expect([ledBy(a.state, a), statusOf(a.state, 'b')]).toEqual([12, undefined])
    expect(a.logged).toContain('declared dead by an operator, with the data that they alone hold')
  })
})

it('a beat for another incarnation is refused', async () => {
  const [a, b] = await three()
  await expect(b.driver.beat({ from: a.id, to: 'b#0', version: 1n, sentAtMs: 0, suspects: [] })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  })
})
