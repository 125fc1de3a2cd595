import { describe, expect, it } from 'vitest'
import type { Epoch, ShardId } from '../../../src/base/ids.ts'
import type { HelloMessage } from '../../../src/replication/messages.ts'
import { recordOf, replicaOf, TestGroup } from './fixture.ts'

const formed = (): TestGroup => {
  const group = new TestGroup('abc')
  group.tell(recordOf(1, 'a', 'abc'))
  group.settle()
  return group
}

describe('a primary with backups', () => {
  it('answers a write when all in-sync replicas hold it', () => {
    const group = formed()
    group.write('a', 'k', 'v')
    group.settle(message => message.to === replicaOf('c').shard)
    expect(group.answered('a')).toEqual([])
    group.pass(200)
    expect(group.answered('a')).toEqual(['v'])
    group.pass(20)
    expect(group.stored('b', 'k')).toBe('v')
    expect(group.stored('c', 'k')).toBe('v')
  })

  it('lets a read wait for the writes that it saw', () => {
    const group = formed()
    group.write('a', 'k', 'v')
    expect(group.at('a').beginRead(group.nowMs)).toEqual({ kind: 'read' })
    group.at('a').wait('read', group.at('a').applied, 'read')
    expect(group.answered('a')).toEqual([])
    group.settle()
    expect(group.answered('a').toSorted()).toEqual(['read', 'v'])
  })

  it('refuses reads without a promise of each, about its own table version', () => {
    const group = formed()
    group.promises.set(replicaOf('b').node, { version: group.version, untilMs: group.nowMs })
    expect(group.at('a').beginRead(group.nowMs)).toEqual({ kind: 'refused', reason: 'noPromise' })
    group.promises.set(replicaOf('b').node, { version: group.version - 1, untilMs: group.nowMs + 100 })
    expect(group.at('a').beginRead(group.nowMs)).toEqual({ kind: 'refused', reason: 'noPromise' })
    group.promises.set(replicaOf('b').node, { version: group.version, untilMs: group.nowMs + 100 })
    expect(group.at('a').beginRead(group.nowMs)).toEqual({ kind: 'read' })
  })

  it('needs no promise of its own node for a copy that moves to another shard there', () => {
    const group = formed()
    const { primary, backups, inSync } = recordOf(2, 'a', 'ab', 'c')
    const neighbour = { node: replicaOf('a').node, shard: 'a.1#1' as ShardId }
    group.promises.set(replicaOf('a').node, { version: 0, untilMs: 0 })
    group.tell({ epoch: 2 as Epoch, primary, backups: [...backups, neighbour], inSync: [...inSync, neighbour] }, 'a')
    expect(group.at('a').beginRead(group.nowMs)).toEqual({ kind: 'read' })
  })

  it('asks for the removal of a silent backup, and waits for it until it learns the new table', () => {
    const group = formed()
    group.write('a', 'k', 'v')
    const deaf = (message: { to: string }): boolean => message.to === replicaOf('c').shard
    group.settle(deaf)
    group.pass(500, deaf)
    group.pass(600, deaf)
    expect(group.requests.at(-1)).toMatchObject({ kind: 'remove', epoch: 1, from: replicaOf('a'), replica: replicaOf('c') })
    expect(group.answered('a')).toEqual([])
    group.tell(recordOf(2, 'a', 'ab', 'c'), 'ab')
    group.settle(deaf)
    expect(group.answered('a')).toEqual(['v'])
  })

  it('refuses new writes below minInSync, and lets admitted ones wait', () => {
    const group = new TestGroup('ab', { minInSync: 2 })
    group.tell(recordOf(1, 'a', 'ab'))
    group.settle()
    group.write('a', 'k', 'v')
    group.tell(recordOf(2, 'a', 'a', 'b'), 'a')
    expect(group.answered('a')).toEqual([])
    expect(group.write('a', 'k', 'w')).toBe('notEnoughReplicas')
    group.settle()
    expect(group.requests.at(-1)).toMatchObject({ kind: 'add', epoch: 2, replica: replicaOf('b') })
    group.tell(recordOf(3, 'a', 'ab'))
    group.settle()
    expect(group.answered('a')).toEqual(['v'])
  })
})

describe('after a promotion', () => {
  it('the whole log counts, the others cut what differs, and a deposed primary starts empty', () => {
    const group = formed()
    group.write('a', 'k', 'one')
    group.settle(message => message.to === replicaOf('c').shard)
    group.write('a', 'k', 'two')
    group.collect()
    group.wire.length = 0
    // b holds "one", a has "two" besides: b is promoted.
    group.tell(recordOf(2, 'b', 'bc', 'a'), 'bc')
    group.write('b', 'k', 'three')
    group.settle(message => message.from === replicaOf('a').shard || message.to === replicaOf('a').shard)
    expect(group.answered('b')).toEqual(['three'])
    expect(group.stored('b', 'k')).toBe('three')
    group.tell(recordOf(2, 'b', 'bc', 'a'))
    expect(group.answered('a')).toEqual(['one?', 'two?'])
    expect(group.at('a').role).toBe('deposed')
    for (let i = 0; i < 8; i += 1) group.pass(300)
    expect(group.at('a').role).toBe('learner')
    expect(group.stored('a', 'k')).toBe('three')
    expect(group.requests.at(-1)).toMatchObject({ kind: 'add', epoch: 2, from: replicaOf('b'), replica: replicaOf('a') })
    expect(group.stops).toEqual([])
  })

  it('serves only when the promises given to earlier primaries have run out', () => {
    const group = formed()
    group.tell(recordOf(2, 'b', 'bc', 'a'), 'b', group.nowMs + 400)
    expect(group.write('b', 'k', 'v')).toBe('notServing')
    expect(group.at('b').beginRead(group.nowMs + 399)).toEqual({ kind: 'refused', reason: 'notServing' })
    expect(group.at('b').nextDeadlineMs(group.nowMs)).toBeLessThanOrEqual(group.nowMs + 400)
    group.pass(400)
    expect(group.at('b').isServing(group.nowMs)).toBe(true)
  })

  it('asks for no turn before it serves, sessions or not', () => {
    const group = formed()
    group.at('a').openSession(group.nowMs)
    group.settle()
    group.pass(20)
    group.tell(recordOf(2, 'b', 'b', 'ac'), 'b', group.nowMs + 400)
    group.pass(1, () => true)
    const { nowMs } = group
    expect(group.at('b').store.sessions.size).toBe(1)
    expect(group.at('b').nextDeadlineMs(nowMs)).toBeGreaterThan(nowMs)
  })

  it('inherited entries are answered only with acknowledgements of the new epoch', () => {
    const group = formed()
    group.write('a', 'k', 'v')
    group.settle(message => message.kind === 'appended')
    group.tell(recordOf(2, 'b', 'bc', 'a'), 'b')
    group.at('b').wait('read', group.at('b').applied, 'read')
    expect(group.answered('b')).toEqual([])
    group.settle(message => message.to === replicaOf('a').shard)
    expect(group.answered('b')).toEqual(['read'])
  })
})

describe('a late hello', () => {
  it('of a backup that has acknowledged since does not remove it', () => {
    const group = new TestGroup('ab', { logRetainBytes: 0 })
    group.tell(recordOf(1, 'a', 'ab'))
    group.settle()
    const hello = { kind: 'hello', partition: 0, epoch: 1, from: replicaOf('b').shard, to: replicaOf('a').shard } as const
    for (let i = 0; i < 3; i += 1) {
      group.write('a', 'k', `${i}`)
      group.settle()
      group.pass(20)
    }
    const asked = group.requests.length
    group.deliver({ ...hello, holds: { epoch: 1, position: 1 }, givenUp: 0, follows: true } as HelloMessage)
    group.pass(200)
    expect(group.requests.slice(asked)).toEqual([])
  })
})

describe('writes while a backup has not answered', () => {
  it('are gathered, so that there is nothing to take before its answer', () => {
    const group = new TestGroup('ab')
    group.tell(recordOf(1, 'a', 'ab'))
    group.settle()
    group.write('a', 'k', 'first')
    expect(group.at('a').gathers).toBe(false)
    group.collect()
    expect(group.at('a').gathers).toBe(true)
    group.write('a', 'k', 'second')
    group.write('a', 'k', 'third')
    const sent = group.wire.length
    group.collect()
    expect(group.wire.length).toBe(sent)
    group.settle()
    expect(group.answered('a')).toEqual(['first', 'second', 'third'])
    expect(group.at('a').gathers).toBe(false)
  })

  it('are not gathered beyond a bound', () => {
    const group = new TestGroup('ab', { gatherBytes: 500 })
    group.tell(recordOf(1, 'a', 'ab'))
    group.settle()
    group.write('a', 'k', 'first')
    group.collect()
    group.write('a', 'k', 'v'.repeat(1000))
    expect(group.at('a').gathers).toBe(false)
    const sent = group.wire.length
    group.collect()
    expect(group.wire.length).toBeGreaterThan(sent)
  })
})

describe('a hand-over', () => {
  it('stops, drains, asks, and stays stopped until a newer epoch', () => {
    const group = formed()
    group.write('a', 'k', 'v')
    group
      .at('a')
      .handleOrder(group.nowMs, { kind: 'handOver', partition: 0 as never, epoch: 1 as never, from: replicaOf('a'), to: replicaOf('b') })
    expect(group.write('a', 'k', 'w')).toBe('notServing')
    group.collect()
    expect(group.requests).toEqual([])
    group.settle()
    expect(group.requests.at(-1)).toMatchObject({ kind: 'handOver', epoch: 1, replica: replicaOf('b') })
    group.tell(recordOf(2, 'b', 'abc', '', { handedOver: true }), 'abc', group.nowMs + 400)
    expect(group.at('b').isServing(group.nowMs)).toBe(true)
    expect(group.at('a').role).toBe('backup')
    group.write('b', 'k', 'x')
    group.settle()
    group.pass(20)
    expect(group.stored('a', 'k')).toBe('x')
    expect(group.stops).toEqual([])
  })

  it('is not begun by a primary that does not serve yet', () => {
    const group = formed()
    group.tell(recordOf(2, 'b', 'bc', 'a'), 'b', group.nowMs + 400)
    group
      .at('b')
      .handleOrder(group.nowMs, { kind: 'handOver', partition: 0 as never, epoch: 2 as never, from: replicaOf('b'), to: replicaOf('c') })
    group.pass(450)
    expect(group.requests.filter(({ kind }) => kind === 'handOver')).toEqual([])
    expect(group.at('b').isServing(group.nowMs)).toBe(true)
  })
})

describe('a learner', () => {
  it('gets the snapshot and the log behind it, is counted, and then asked for', () => {
    const group = new TestGroup('abd', { logRetainBytes: 0, chunkMaxBytes: 64, copyBytesPerSecond: Number.POSITIVE_INFINITY })
    group.tell(recordOf(1, 'a', 'ab'))
    group.settle()
    for (let i = 0; i < 40; i += 1) group.write('a', `k${i}`, `v${i}`)
    group.settle()
    group.pass(20)
    group.tell(recordOf(1, 'a', 'ab', 'd'))
    for (let i = 0; i < 20; i += 1) {
      group.write('a', `k${i}`, `w${i}`)
      group.pass(200)
    }
    expect(group.requests.at(-1)).toMatchObject({ kind: 'add', epoch: 1, replica: replicaOf('d') })
    expect(group.at('a').countedSet).toContainEqual(replicaOf('d'))
    group.tell(recordOf(2, 'a', 'abd'))
    group.settle()
    group.pass(20)
    for (let i = 0; i < 40; i += 1) expect(group.stored('d', `k${i}`)).toBe(group.stored('a', `k${i}`))
    expect(group.at('d').role).toBe('backup')
  })

  it('dropped and taken again in one epoch is not credited with what it acknowledged before', () => {
    const group = new TestGroup('abd')
    group.tell(recordOf(1, 'a', 'ab', 'd'))
    group.write('a', 'k', 'v')
    const late: Parameters<TestGroup['deliver']>[0][] = []
    group.settle(message => message.from === replicaOf('d').shard && message.kind === 'appended' && late.push(message) > 0)
    group.pass(200, message => message.from === replicaOf('d').shard && message.kind === 'appended' && late.push(message) > 0)
    expect(late.length).toBeGreaterThan(0)
    group.tell(recordOf(1, 'a', 'ab'))
    expect(group.at('d').role).toBe('absent')
    group.pass(1)
    group.tell(recordOf(1, 'a', 'ab', 'd'), 'a')
    for (const message of late) group.deliver(message)
    group.collect()
    expect(group.requests).toEqual([])
  })

  it('that was a backup goes on from its log', () => {
    const group = formed()
    group.write('a', 'k', 'v')
    group.settle()
    group.pass(20)
    group.tell(recordOf(2, 'a', 'ab', 'c'))
    for (let i = 0; i < 4; i += 1) group.pass(300)
    expect(group.at('c').role).toBe('learner')
    expect(group.stored('c', 'k')).toBe('v')
    expect(group.requests.at(-1)).toMatchObject({ kind: 'add', epoch: 2, replica: replicaOf('c') })
  })
})

describe('what was given up', () => {
  it('is dropped everywhere, and the new primary waits for the longest promise', () => {
    const group = formed()
    group.write('a', 'k', 'v')
    group.settle()
    group.tell(recordOf(5, 'b', 'b', '', { givenUp: 1 }))
    expect(group.stored('b', 'k')).toBeUndefined()
    expect(group.at('b').isServing(group.nowMs + 599)).toBe(false)
    expect(group.at('b').isServing(group.nowMs + 600)).toBe(true)
    expect(group.at('a').role).toBe('absent')
    expect(group.at('b').applied).toBeGreaterThan(2 ** 35)
  })
})

describe('a retried write', () => {
  const open = (group: TestGroup, name: string): { readonly epoch: number; readonly position: number } => {
    const opened = group.at(name).openSession(group.nowMs)
    if (opened.kind !== 'opened') throw new Error(opened.reason)
    group.settle()
    return opened.ticket
  }

  it('answers what is recorded, also at the next primary, once that is committed', () => {
    const group = formed()
    const ticket = open(group, 'a')
    group.write('a', 'k', 'one', { ticket, number: 1 })
    group.settle(message => message.kind === 'appended')
    group.tell(recordOf(2, 'b', 'bc', 'a'), 'bc')
    group.write('b', 'k', 'not again', { ticket, number: 1 })
    expect(group.answered('b')).toEqual([])
    group.settle(message => message.to === replicaOf('a').shard)
    expect(group.answered('b')).toEqual(['again one'])
    expect(group.stored('b', 'k')).toBe('one')
  })

  it('learns that its ticket is unknown only from a primary that has the right: a replaced one may have closed it by itself', () => {
    const group = formed()
    const id = { ticket: open(group, 'a'), number: 1 }
    group.nowMs += 61_000
    for (const name of 'bc') group.promises.set(replicaOf(name).node, { version: group.version, untilMs: group.nowMs - 1 })
    group.at('a').handleTick(group.nowMs)
    expect(group.write('a', 'k', 'x', id)).toBe('noPromise')
    for (const name of 'bc') group.promises.set(replicaOf(name).node, { version: group.version, untilMs: group.nowMs + 1 })
    expect(group.write('a', 'k', 'x', id)).toBe('sessionUnknown')
  })

  it('of an unknown ticket does nothing; below the trimmed number its outcome is unknown', () => {
    const group = formed()
    const ticket = open(group, 'a')
    expect(group.write('a', 'k', 'x', { ticket: { epoch: 1, position: 999 }, number: 1 })).toBe('sessionUnknown')
    group.write('a', 'k', 'one', { ticket, number: 1 })
    expect(group.at('a').beginWrite(group.nowMs, { ticket, number: 2 }, 2).kind).toBe('execute')
    group.at('a').finishWrite(group.nowMs, { ticket, number: 2 }, new Uint8Array(1))
    expect(group.write('a', 'k', 'one', { ticket, number: 1 })).toBe('outcomeUnknown')
    expect(group.write('a', 'k', 'far', { ticket, number: 2000 })).toBe('windowExceeded')
  })

  it('finds nothing when the session was idle for its time to live', () => {
    const group = formed()
    const ticket = open(group, 'a')
    group.pass(1000)
    group.pass(30_000)
    group.write('a', 'k', 'one', { ticket, number: 1 })
    group.pass(50_000)
    expect(group.at('a').store.sessions.size).toBe(1)
    group.pass(60_000)
    expect(group.write('a', 'k', 'two', { ticket, number: 2 })).toBe('sessionUnknown')
  })
})
