import { describe, expect, it } from 'vitest'
import type { NodeId } from '../../../src/base/ids.ts'
import { Promises } from '../../../src/replication/promises.ts'
import { recordOf, replicaOf } from './fixture.ts'

const node = (name: string): NodeId => replicaOf(name).node
const promisesOf = (name: string): Promises => new Promises({ self: node(name), leaseMs: 600, marginMs: 50 })

describe('promises between two nodes', () => {
  it('count for 550 ms from the send time of the message answered', () => {
    const [a, b] = [promisesOf('a'), promisesOf('b')]
    for (const promises of [a, b]) promises.handleTable(3, [recordOf(1, 'a', 'ab')])
    const heartbeat = a.heartbeat(1000, node('b'))
    const answer = b.handleHeartbeat(77_000, heartbeat)
    expect(answer).toMatchObject({ promised: true, version: 3, sentAtMs: 1000 })
    if (answer !== undefined) a.handleAnswer(1400, answer)
    expect(a.held(node('b'))).toEqual({ version: 3, untilMs: 1550 })
  })

  it('are not given about a table that the answerer has not learned', () => {
    const [a, b] = [promisesOf('a'), promisesOf('b')]
    a.handleTable(4, [recordOf(2, 'a', 'a')])
    b.handleTable(3, [recordOf(1, 'a', 'ab')])
    expect(b.handleHeartbeat(0, a.heartbeat(0, node('b')))).toMatchObject({ promised: false })
    // The newer side answers with its own version; the view rides along.
    expect(a.handleHeartbeat(0, b.heartbeat(0, node('a')))).toMatchObject({ promised: true, version: 4 })
  })

  it('of and for another incarnation count for nothing', () => {
    const [a, b] = [promisesOf('a'), promisesOf('b')]
    for (const promises of [a, b]) promises.handleTable(3, [recordOf(1, 'a', 'ab')])
    expect(b.handleHeartbeat(0, a.heartbeat(0, 'b#0' as NodeId))).toBeUndefined()
    a.handleAnswer(0, { kind: 'heartbeatAnswer', from: node('b'), to: 'a#0' as NodeId, version: 3, sentAtMs: 0, promised: true })
    expect(a.held(node('b'))).toBeUndefined()
  })

  it('an older answer does not shorten what is held', () => {
    const a = promisesOf('a')
    a.handleTable(3, [recordOf(1, 'a', 'ab')])
    const answer = { kind: 'heartbeatAnswer', from: node('b'), to: node('a'), version: 3, promised: true } as const
    a.handleAnswer(900, { ...answer, sentAtMs: 800 })
    a.handleAnswer(901, { ...answer, sentAtMs: 300 })
    expect(a.held(node('b'))?.untilMs).toBe(1350)
  })

  it('who is promoted knows the last promise given to any earlier primary', () => {
    const c = promisesOf('c')
    c.handleTable(1, [recordOf(1, 'a', 'abc')])
    c.handleHeartbeat(1000, { kind: 'heartbeat', from: node('a'), to: node('c'), version: 1, sentAtMs: 0 })
    c.handleTable(2, [recordOf(2, 'b', 'bc')])
    expect(c.promisedUntilMs(0)).toBe(1600)
    c.handleHeartbeat(800, { kind: 'heartbeat', from: node('b'), to: node('c'), version: 2, sentAtMs: 0 })
    c.handleTable(3, [recordOf(3, 'c', 'c')])
    expect(c.promisedUntilMs(0)).toBe(1600)
  })

  it('whoever was handed a partition does not wait, in later records either', () => {
    const b = promisesOf('b')
    b.handleTable(1, [recordOf(1, 'a', 'ab')])
    b.handleHeartbeat(1000, { kind: 'heartbeat', from: node('a'), to: node('b'), version: 1, sentAtMs: 0 })
    b.handleTable(2, [recordOf(2, 'b', 'ab', '', { handedOver: true })])
    expect(b.promisedUntilMs(0)).toBe(Number.NEGATIVE_INFINITY)
    b.handleTable(3, [recordOf(3, 'b', 'b')])
    expect(b.promisedUntilMs(0)).toBe(Number.NEGATIVE_INFINITY)
  })
})
