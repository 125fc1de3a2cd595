/** One small scenario per rule: it holds with all rules, and breaks when this one is taken away. So no switch is dead. */
import { describe, expect, it } from 'vitest'
import type { NodeId } from '../../../src/base/ids.ts'
import type { HandOverOrder } from '../../../src/partitioning/partition-table.ts'
import type { ReplicationMessage } from '../../../src/replication/messages.ts'
import { Promises } from '../../../src/replication/promises.ts'
import type { ReplicaOptions } from '../../../src/replication/replica-port.ts'
import { everyRule, type ReplicationRules } from '../../../src/replication/rules.ts'
import { recordOf, replicaOf, TestGroup } from './fixture.ts'

type Make = (names: string, options?: Partial<ReplicaOptions>) => TestGroup
type Scenario = (make: Make, rules: ReplicationRules) => boolean

const shard = (name: string): string => replicaOf(name).shard
const node = (name: string): NodeId => replicaOf(name).node
const order = (epoch: number, from: string, to: string): HandOverOrder =>
  ({ kind: 'handOver', partition: 0, epoch, from: replicaOf(from), to: replicaOf(to) }) as HandOverOrder

/** Keeps what is sent to and from those replicas, in order. */
function holdBack(held: ReplicationMessage[], ...names: readonly string[]): (message: ReplicationMessage) => boolean {
  return message => names.some(name => shard(name) === message.to || shard(name) === message.from) && held.push(message) > 0
}

/** Three in sync; an entry of epoch 1 reached `c` alone (or nobody), and b is promoted. */
function promoted(make: Make, reachesC: boolean, options?: Partial<ReplicaOptions>): { group: TestGroup; late: ReplicationMessage[] } {
  const group = make('abc', options)
  group.tell(recordOf(1, 'a', 'abc'))
  group.settle()
  group.write('a', 'old', 'x')
  const late: ReplicationMessage[] = []
  group.settle(message => message.kind === 'append' && (message.to === shard('b') || !reachesC) && late.push(message) > 0)
  group.wire.length = 0
  return { group, late }
}

const answers = (group: TestGroup, name: string): boolean => group.answered(name).length > 0
const holdsLast = (group: TestGroup, holder: string, writer: string): boolean => {
  const { epoch, applied } = group.at(writer)
  return group.at(holder).holds({ epoch, position: applied })
}

const scenarios: Partial<Record<keyof ReplicationRules, Scenario>> = {
  cutDifferingTail: make => {
    const { group } = promoted(make, true)
    group.tell(recordOf(2, 'b', 'bc', 'a'), 'bc')
    group.write('b', 'k', 'y')
    group.settle(holdBack([], 'a'))
    return !answers(group, 'b') || holdsLast(group, 'c', 'b')
  },
  acknowledgeOnlyMessage: make => {
    const { group } = promoted(make, true)
    group.tell(recordOf(2, 'b', 'bc', 'a'), 'bc')
    const acknowledgements: ReplicationMessage[] = []
    group.settle(message => holdBack([], 'a')(message) || (message.kind === 'appended' && acknowledgements.push(message) > 0))
    group.write('b', 'k', 'y')
    group.settle(holdBack([], 'a', 'c'))
    for (const message of acknowledgements) group.deliver(message)
    return !answers(group, 'b')
  },
  refuseOlderEpoch: make => {
    const { group, late } = promoted(make, false)
    group.tell(recordOf(2, 'b', 'bc', 'a'), 'bc')
    group.write('b', 'k', 'y')
    group.settle(holdBack([], 'a'))
    for (const message of late) if (message.to === shard('c')) group.deliver(message)
    return answers(group, 'b') && holdsLast(group, 'c', 'b')
  },
  learnNewerEpochFirst: make => {
    const { group, late } = promoted(make, false)
    group.tell(recordOf(2, 'b', 'bc', 'a'), 'b')
    group.write('b', 'k', 'y')
    group.settle(holdBack([], 'a'))
    for (const message of late) if (message.to === shard('c')) group.deliver(message)
    return answers(group, 'b') && holdsLast(group, 'c', 'b')
  },
  acknowledgementsOfAll: make => {
    const group = make('abc')
    group.tell(recordOf(1, 'a', 'abc'))
    group.settle()
    group.write('a', 'k', 'v')
    group.settle(holdBack([], 'c'))
    return !answers(group, 'a')
  },
  acknowledgementsBoundToIncarnation: make => {
    const group = make('abB')
    group.tell(recordOf(1, 'a', 'ab', 'B'))
    group.write('a', 'k', 'v')
    group.settle(holdBack([], 'b'))
    return !answers(group, 'a')
  },
  currentEpochAcknowledgements: make => {
    const group = make('abc')
    group.tell(recordOf(1, 'a', 'abc'))
    group.write('a', 'k', 'v')
    const acknowledgements: ReplicationMessage[] = []
    group.settle(message => message.kind === 'appended' && acknowledgements.push(message) > 0)
    group.tell(recordOf(3, 'a', 'abc'), 'a')
    for (const message of acknowledgements) group.deliver(message)
    return !answers(group, 'a')
  },
  committedCappedAtMatched: make => {
    const { group } = promoted(make, true)
    group.tell(recordOf(2, 'b', 'b', 'ac'), 'bc')
    group.write('b', 'k', 'y')
    group.settle(holdBack([], 'a', 'c'))
    group.nowMs += 200
    group.collect()
    for (const message of group.wire.splice(0)) {
      if (message.kind === 'append' && message.to === shard('c')) {
        // As if the message with the entries had been lost, and this one says what is committed.
        group.deliver({ ...message, entries: [], previous: { epoch: 0 as never, position: 0 }, serving: true })
      }
    }
    return group.stored('c', 'old') === undefined
  },
  deposedStartsEmpty: make => {
    const { group } = promoted(make, false)
    group.tell(recordOf(2, 'b', 'bc', 'a'))
    group.write('b', 'k', 'y')
    for (let i = 0; i < 8; i += 1) group.pass(300)
    return group.at('a').role === 'learner' && group.stored('a', 'old') === undefined
  },
  removalLearnedFirst: make => {
    const group = make('abc')
    group.tell(recordOf(1, 'a', 'abc'))
    group.settle()
    group.write('a', 'k', 'v')
    for (const ms of [0, 600, 600]) group.pass(ms, holdBack([], 'c'))
    return group.requests.length > 0 && !answers(group, 'a')
  },
  countBeforeAsking: make => {
    const group = make('abd')
    group.tell(recordOf(1, 'a', 'ab', 'd'))
    for (let i = 0; i < 3; i += 1) group.pass(200)
    group.write('a', 'k', 'v')
    group.settle(holdBack([], 'd'))
    return group.requests.some(({ kind }) => kind === 'add') && !answers(group, 'a')
  },
  learnerAcknowledgedCommitted: make => {
    const group = make('abd', { messageMaxBytes: 1 })
    group.tell(recordOf(1, 'a', 'ab'))
    group.settle()
    group.write('a', 'k', 'one')
    group.write('a', 'k', 'two')
    group.settle()
    group.tell(recordOf(1, 'a', 'ab', 'd'))
    let entries = 0
    group.settle(message => message.to === shard('d') && message.kind === 'append' && message.entries.length > 0 && (entries += 1) > 1)
    return !group.requests.some(({ kind }) => kind === 'add')
  },
  learnerAppliedLastChunk: make => {
    const group = make('abd', { logRetainBytes: 0, chunkMaxBytes: 64, copyBytesPerSecond: Number.POSITIVE_INFINITY })
    group.tell(recordOf(1, 'a', 'ab'))
    for (let i = 0; i < 40; i += 1) group.write('a', `k${i}`, 'v')
    group.settle()
    group.pass(20)
    group.tell(recordOf(1, 'a', 'ab', 'd'))
    for (let i = 0; i < 4; i += 1) {
      group.write('a', 'k1', 'w')
      group.pass(200, message => message.kind === 'chunk' && message.index > 1)
    }
    return !group.requests.some(({ kind }) => kind === 'add')
  },
  logFromFirstChunk: make => {
    const group = make('abd', { logRetainBytes: 0, chunkMaxBytes: 64, copyBytesPerSecond: Number.POSITIVE_INFINITY })
    group.tell(recordOf(1, 'a', 'ab'))
    for (let i = 0; i < 40; i += 1) group.write('a', `k${i}`, 'v')
    group.settle()
    group.pass(20)
    group.tell(recordOf(1, 'a', 'ab', 'd'))
    const keys = Array.from({ length: 40 }, (_, i) => `k${i}`)
    let chunks = 0
    for (let i = 0; i < 40; i += 1) {
      // Every key changes while the snapshot goes by, a chunk at a time.
      group.pass(20, message => message.kind === 'chunk' && (chunks += 1) > i + 1)
      group.write('a', `k${i}`, 'w')
      group.pass(200, message => message.kind === 'chunk' && message.index > i)
    }
    for (let i = 0; i < 10; i += 1) group.pass(200)
    return keys.every(key => group.stored('d', key) === 'w')
  },
  minInSyncAtAnswer: make => {
    const group = make('ab', { minInSync: 2 })
    group.tell(recordOf(1, 'a', 'a', 'b'))
    return group.write('a', 'k', 'v') === 'notEnoughReplicas'
  },
  readNeedsPromises: make => readWithout(make, ['b', 'c']),
  promisesOfAll: make => readWithout(make, ['b']),
  countedLearnerPromises: make => {
    const group = make('abd')
    group.tell(recordOf(1, 'a', 'ab', 'd'))
    for (let i = 0; i < 3; i += 1) group.pass(200)
    group.promises.set(node('d'), { version: group.version, untilMs: group.nowMs })
    return group.at('a').countedSet.length === 3 && group.at('a').beginRead(group.nowMs).kind === 'refused'
  },
  promiseOfAppliedVersion: make => {
    const group = make('ab')
    group.tell(recordOf(1, 'a', 'ab'))
    group.promises.set(node('b'), { version: group.version + 1, untilMs: group.nowMs + 500 })
    return group.at('a').beginRead(group.nowMs).kind === 'refused'
  },
  readCheckAfterReceipt: make => {
    const group = make('ab')
    group.tell(recordOf(1, 'a', 'ab'))
    group.promises.set(node('b'), { version: group.version, untilMs: group.nowMs + 500 })
    group.pass(10)
    return group.at('a').beginRead(group.nowMs + 5000).kind === 'refused'
  },
  readWaitsForCommit: make => {
    const group = make('ab')
    group.tell(recordOf(1, 'a', 'ab'))
    group.settle()
    group.write('a', 'k', 'v')
    group.at('a').wait('read', group.at('a').applied, 'read')
    return !answers(group, 'a')
  },
  waitAfterPromotion: make => {
    const { group } = promoted(make, true)
    group.tell(recordOf(2, 'b', 'bc', 'a'), 'b', group.nowMs + 300)
    return !group.at('b').isServing(group.nowMs + 299)
  },
  waitAfterGivingUp: make => {
    const { group } = promoted(make, true)
    group.tell(recordOf(2, 'b', 'b', '', { givenUp: 1 }), 'b')
    return !group.at('b').isServing(group.nowMs + 599)
  },
  stopBeforeHandOver: make => {
    const group = make('ab')
    group.tell(recordOf(1, 'a', 'ab'))
    group.at('a').handleOrder(group.nowMs, order(1, 'a', 'b'))
    return !group.at('a').isServing(group.nowMs)
  },
  drainBeforeHandOver: make => {
    const group = make('ab')
    group.tell(recordOf(1, 'a', 'ab'))
    group.settle()
    group.write('a', 'k', 'v')
    group.at('a').handleOrder(group.nowMs, order(1, 'a', 'b'))
    group.settle(holdBack([], 'b'))
    return group.requests.length === 0
  },
  onlyServingHandsOver: make => {
    const group = make('abc')
    group.tell(recordOf(1, 'b', 'bc', 'a'), 'b', group.nowMs + 300)
    group.settle(holdBack([], 'a'))
    group.at('b').handleOrder(group.nowMs, order(1, 'b', 'c'))
    group.pass(200, holdBack([], 'a'))
    return !group.requests.some(({ kind }) => kind === 'handOver')
  },
  deduplicate: make => retried(make, 1, 1) === 'recorded',
  unknownTicketRefused: make => retried(make, 999, 1) === 'refused',
  recordedAnswerWaits: make => {
    const group = make('ab')
    group.tell(recordOf(1, 'a', 'ab'))
    group.settle()
    const opened = group.at('a').openSession(group.nowMs)
    if (opened.kind !== 'opened') return false
    group.settle()
    const id = { ticket: opened.ticket, number: 1 }
    group.write('a', 'k', 'v', id)
    group.write('a', 'k', 'v', id)
    return !answers(group, 'a')
  },
  snapshotHoldsDeduplication: make => {
    const group = make('abd', { logRetainBytes: 0, copyBytesPerSecond: Number.POSITIVE_INFINITY })
    group.tell(recordOf(1, 'a', 'ab'))
    const opened = group.at('a').openSession(group.nowMs)
    if (opened.kind !== 'opened') return false
    group.settle()
    group.write('a', 'k', 'v', { ticket: opened.ticket, number: 1 })
    group.settle()
    group.pass(20)
    group.tell(recordOf(1, 'a', 'ab', 'd'))
    for (let i = 0; i < 5; i += 1) group.pass(200)
    group.tell(recordOf(2, 'a', 'abd'))
    group.pass(20)
    group.tell(recordOf(3, 'd', 'db', 'a'))
    return group.at('d').beginWrite(group.nowMs, { ticket: opened.ticket, number: 1 }).kind === 'recorded'
  },
  promiseOnlyAtEqualVersions: (_, rules) => {
    const [a, b] = pair(rules)
    a.handleTable(9, [recordOf(4, 'a', 'ab')])
    return b.handleHeartbeat(0, a.heartbeat(0, node('b')))?.promised === false
  },
  promotedStopsPromising: (_, rules) => {
    const [a, b] = pair(rules)
    const heartbeat = a.heartbeat(0, node('b'))
    b.handleTable(9, [recordOf(4, 'b', 'b', 'a')])
    return b.handleHeartbeat(0, heartbeat)?.version === 9
  },
  promiseFromSendTime: (_, rules) => untilMs(rules, 400) === 550,
  promiseMargin: (_, rules) => untilMs(rules, 0) === 550,
  promisesBoundToIncarnation: (_, rules) => {
    const B = new Promises({ self: node('B'), leaseMs: 600, marginMs: 50 }, rules)
    B.handleTable(3, [recordOf(1, 'a', 'ab')])
    const [a] = pair(rules)
    const answer = B.handleHeartbeat(0, a.heartbeat(0, node('b')))
    if (answer !== undefined) a.handleAnswer(0, answer)
    return a.held(node('b')) === undefined
  },
  waitForAllEarlierPrimaries: (_, rules) => {
    const c = new Promises({ self: node('c'), leaseMs: 600, marginMs: 50 }, rules)
    c.handleTable(1, [recordOf(1, 'a', 'abc')])
    c.handleHeartbeat(1000, { kind: 'heartbeat', from: node('a'), to: node('c'), version: 1, sentAtMs: 0 })
    c.handleTable(2, [recordOf(2, 'b', 'bc')])
    c.handleTable(3, [recordOf(3, 'c', 'c')])
    return c.promisedUntilMs(0) === 1600
  },
}

function readWithout(make: Make, missing: readonly string[]): boolean {
  const group = make('abc')
  group.tell(recordOf(1, 'a', 'abc'))
  for (const name of missing) group.promises.set(node(name), { version: group.version, untilMs: group.nowMs })
  return group.at('a').beginRead(group.nowMs).kind === 'refused'
}

function retried(make: Make, position: number, number: number): string {
  const group = make('a')
  group.tell(recordOf(1, 'a', 'a'))
  group.at('a').openSession(group.nowMs)
  group.write('a', 'k', 'v', { ticket: { epoch: 1, position: 1 }, number: 1 })
  return group.at('a').beginWrite(group.nowMs, { ticket: { epoch: 1, position }, number }).kind
}

function pair(rules: ReplicationRules): readonly [Promises, Promises] {
  const a = new Promises({ self: node('a'), leaseMs: 600, marginMs: 50 }, rules)
  const b = new Promises({ self: node('b'), leaseMs: 600, marginMs: 50 }, rules)
  for (const promises of [a, b]) promises.handleTable(3, [recordOf(1, 'a', 'ab')])
  return [a, b]
}

function untilMs(rules: ReplicationRules, answeredAfterMs: number): number | undefined {
  const [a, b] = pair(rules)
  const answer = b.handleHeartbeat(0, a.heartbeat(0, node('b')))
  if (answer !== undefined) a.handleAnswer(answeredAfterMs, answer)
  return a.held(node('b'))?.untilMs
}

const makeWith =
  (rules: ReplicationRules): Make =>
  (names, options) =>
    new TestGroup(names, options, rules)

describe('the rule', () => {
  it('has a scenario', () => {
    expect(Object.keys(scenarios).toSorted()).toEqual(Object.keys(everyRule).toSorted())
  })

  for (const [name, scenario] of Object.entries(scenarios)) {
    it(`${name} holds, and breaks when taken away`, () => {
      expect(scenario(makeWith(everyRule), everyRule)).toBe(true)
      const without = { ...everyRule, [name]: false }
      expect(scenario(makeWith(without), without)).toBe(false)
    })
  }
})
