/** Two shards that hold each partition together, over links that lose what is under way when told to. */
import { describe, expect, test } from 'vitest'
import type { Epoch, PartitionId } from '../../../src/base/ids.ts'
import type { Ticket } from '../../../src/replication/replica-port.ts'
import type { ReplicationMessage } from '../../../src/replication/messages.ts'
import { encodeReplication } from '../../../src/wire/replication-codec.ts'
import { OperationBatch, OperationKind } from '../../../src/wire/generated/nearstate/v1/data.ts'
import { encodeValue } from '../../../src/wire/value-codec.ts'
import { holdOf, keyIn, settled, type TestClient, type TestShard, World, type WorldOptions } from './fixture.ts'

const { GET, GET_ENTRY, SET, DELETE, PUT_IF_ABSENT, SCAN, SIZE, OPEN_SESSION, INVOKE } = OperationKind
const key = keyIn(0)

/** Partition 0's primary is the first shard, its backup the second. */
function twoCopies(options: WorldOptions = {}): { world: World; one: TestShard; two: TestShard; client: TestClient } {
  const world = new World({ shards: 2, backups: true, ...options })
  world.define('m')
  world.publishMaps()
  world.later.run()
  const [one, two] = world.shards as [TestShard, TestShard]
  return { world, one, two, client: one.connect() }
}

function cut({ world, one, two }: { world: World; one: TestShard; two: TestShard }): void {
  world.cut.add(`${one.id}>${two.id}`)
  world.cut.add(`${two.id}>${one.id}`)
}

/** The first shard is gone: the second is primary of everything, alone. */
function promote({ world, one, two }: { world: World; one: TestShard; two: TestShard }): void {
  world.publish(() => two, [two], [one], { backups: [], inSync: [two.replica] })
  world.later.run()
}

function send(client: TestClient, ...operations: Parameters<TestClient['add']>[]): number[] {
  const ids = operations.map(operation => client.add(...operation))
  client.flush()
  return ids
}

const numbered = (client: TestClient, number: number, ...operation: Parameters<TestClient['add']>): number => {
  const id = client.add(...operation)
  client.number(number, number - 1)
  client.flush()
  return id
}

describe('a partition with two copies', () => {
  test('answers a write when the backup has it, and a read of it not before', () => {
    const { world, client } = twoCopies()
    const [write, read, other] = send(client, [SET, 'm', key, 1], [GET, 'm', key], [GET, 'm', keyIn(0, 1)]) as [number, number, number]
    expect(client.answers.size).toBe(0)
    world.later.run()
    expect([write, read, other].map(id => client.answer(id).status)).toEqual(['ok', 'ok', 'absent'])
    expect(client.value(client.answer(read))).toBe(1)
  })

  test('reads answer at once where nothing waits', () => {
    const { client } = twoCopies()
    client.call(SET, 'm', key, 1)
    const [read] = send(client, [GET, 'm', key]) as [number]
    expect(client.value(client.answer(read))).toBe(1)
  })

  test('is served by the backup after a fail-over, with all that was acknowledged', () => {
    const cluster = twoCopies()
    const { world, two, client } = cluster
    client.call(SET, 'm', key, 'kept')
    client.call(SET, 'm', keyIn(0, 1), 'gone')
    client.call(DELETE, 'm', keyIn(0, 1))
    promote(cluster)
    const other = two.connect()
    expect(other.value(other.call(GET, 'm', key))).toBe('kept')
    expect(other.call(GET, 'm', keyIn(0, 1)).status).toBe('absent')
    expect(other.call(SET, 'm', key, 'new').status).toBe('ok')
    expect(world.definitions.size).toBe(1)
  })

  test('the backup waits until what it promised has run out, and says "not now" meanwhile', () => {
    const { world, one, two, client } = twoCopies()
    client.call(SET, 'm', key, 1)
    world.publish(() => two, [two], [one], { backups: [], inSync: [two.replica] }, world.clock.nowMs() + 500)
    world.later.run()
    const other = two.connect()
    expect(other.call(GET, 'm', key).status).toBe('notNow')
    expect(other.call(SET, 'm', key, 2).status).toBe('notNow')
    expect(other.call(OPEN_SESSION, 'm', undefined, undefined, { partition: 0 }).status).toBe('notNow')
    world.pass(499)
    expect(other.call(GET, 'm', key).status).toBe('notNow')
    world.pass(2)
    expect(other.value(other.call(GET, 'm', key))).toBe(1)
    return settled(world, holdOf(two).maps.open('m', 'm', 'string')).then(opened => expect(opened.get(0, key)).toBe(1))
  })

  test('without the promises of the other node reads are "not now", and writes go on', () => {
    const { world, one, client } = twoCopies()
    client.call(SET, 'm', key, 1)
    one.promise(1, world.version, world.clock.nowMs() - 1)
    expect(client.call(GET, 'm', key).status).toBe('notNow')
    expect(client.call(SET, 'm', key, 2).status).toBe('ok')
    one.promise(1, world.version - 1, 1e9)
    expect(client.call(GET, 'm', key).status).toBe('notNow')
    one.promise(1, world.version, 1e9)
    expect(client.value(client.call(GET, 'm', key))).toBe(2)
  })

  test('what waits when another shard has become primary ends: writes unknown, reads "not now"', () => {
    const cluster = twoCopies()
    const { world, one, two, client } = cluster
    client.call(SET, 'm', key, 1)
    cut(cluster)
    const [write, read] = send(client, [SET, 'm', key, 2], [GET, 'm', key]) as [number, number]
    world.later.run()
    expect(client.answers.size).toBe(1)
    world.publish(() => two, [one], [], { backups: [], inSync: [two.replica] })
    world.later.run()
    expect(client.answer(write).detail?.errorCode).toBe('OUTCOME_UNKNOWN')
    expect(client.answer(read).status).toBe('notNow')
    expect(client.call(GET, 'm', key).status).toBe('notOwner')
  })

  test('a backup that is silent is asked to be taken out, and writes wait until the table says so', () => {
    const cluster = twoCopies()
    const { world, one, two, client } = cluster
    client.call(SET, 'm', key, 1)
    cut(cluster)
    const [write] = send(client, [SET, 'm', key, 2]) as [number]
    world.pass(1500)
    expect(one.requests.some(({ kind, partition, replica }) => kind === 'remove' && partition === 0 && replica.shard === two.id)).toBe(true)
    expect(client.answers.has(write)).toBe(false)
    world.publish(() => one, [one], [], { backups: [], inSync: [one.replica] })
    world.later.run()
    expect(client.answer(write).status).toBe('ok')
  })

  test('a link that breaks twice in a row takes the backup for gone at once; one that comes back does not', () => {
    const cluster = twoCopies()
    const { world, one, two, client } = cluster
    client.call(SET, 'm', key, 1)
    one.listener?.onPeerDown(two.id)
    world.later.run()
    client.call(SET, 'm', key, 2)
    expect(one.requests).toEqual([])
    cut(cluster)
    one.listener?.onPeerDown(two.id)
    one.listener?.onPeerDown(two.id)
    expect(one.requests.find(({ partition }) => partition === 0)).toMatchObject({ kind: 'remove', replica: two.replica })
  })

  test('a new copy is filled, caught up, and asked for; then it can take over', () => {
    const world = new World({ shards: 2 })
    const [one, two] = world.shards as [TestShard, TestShard]
    world.define('m')
    world.publishMaps()
    world.publish(() => one)
    const client = one.connect()
    for (let n = 0; n < 50; n += 1) client.call(SET, 'm', keyIn(0, n), n)
    world.publish(
      () => one,
      world.shards,
      [],
      partition => (partition === 0 ? { backups: [two.replica], inSync: [one.replica] } : {}),
    )
    for (let rounds = 0; one.requests.length === 0 && rounds < 50; rounds += 1) world.pass(100)
    expect(one.requests[0]).toMatchObject({ kind: 'add', partition: 0, replica: two.replica })
    client.call(SET, 'm', keyIn(0, 50), 50)
    world.publish(
      () => one,
      world.shards,
      [],
      partition => (partition === 0 ? { backups: [two.replica], inSync: [one.replica, two.replica] } : {}),
    )
    world.later.run()
    promote({ world, one, two })
    const other = two.connect()
    for (let n = 0; n <= 50; n += 1) expect(other.value(other.call(GET, 'm', keyIn(0, n)))).toBe(n)
  })

  test('values above the limit of a message travel in parts', () => {
    const cluster = twoCopies({ limits: { messageMaxBytes: 1024 * 1024 } })
    const { two, client } = cluster
    const value = Buffer.alloc(3_000_000, 7)
    const encoded = encodeValue(value)
    expect(client.call(SET, 'm', key, encoded).status).toBe('ok')
    promote(cluster)
    const other = two.connect()
    expect(other.value(other.call(GET, 'm', key))).toEqual(value)
  })

  test('hands over when it is told to, and says "not now" until the table has it', () => {
    const { world, one, two, client } = twoCopies()
    client.call(SET, 'm', key, 1)
    const epoch = world.view?.state.partitions[0]?.epoch as Epoch
    const order = { kind: 'handOver', partition: 0 as PartitionId, epoch, from: one.replica, to: two.replica } as const
    one.tell({ type: 'command', command: { kind: 'handOver', order } })
    expect(one.requests.at(-1)).toMatchObject({ kind: 'handOver', partition: 0, replica: two.replica })
    expect(client.call(SET, 'm', key, 2).status).toBe('notNow')
    world.publish(
      partition => (partition === 0 ? two : world.shards[partition % 2]),
      world.shards,
      [],
      partition => (partition === 0 ? { backups: [one.replica], inSync: [two.replica, one.replica], handedOver: true } : {}),
      world.clock.nowMs() + 1e6,
    )
    world.later.run()
    const other = two.connect()
    expect(other.value(other.call(GET, 'm', key))).toBe(1)
    expect(client.call(GET, 'm', key).status).toBe('notOwner')
  })

  test('a destroyed map is dropped by an effect, so the backup holds nothing of it either', async () => {
    const { world, two, client } = twoCopies()
    client.call(SET, 'm', key, 1)
    const before = (await two.ask({ kind: 'stats' })).replicas.find(({ partition }) => partition === 0)
    world.pass(50)
    world.definitions.clear()
    world.publishMaps()
    world.pass(50)
    const after = (await two.ask({ kind: 'stats' })).replicas.find(({ partition }) => partition === 0)
    expect([before?.role, after?.role]).toEqual(['backup', 'backup'])
    expect(after?.entries).toBe(0)
  })

  test('a promoted backup that has not heard of a map yet does not say that it is empty', () => {
    const world = new World({ shards: 2, backups: true, answersAsks: false })
    const [one, two] = world.shards as [TestShard, TestShard]
    one.tell({ type: 'command', command: { kind: 'maps', definitions: [world.define('m')] } })
    const client = one.connect()
    client.call(SET, 'm', key, 1)
    promote({ world, one, two })
    const other = two.connect()
    expect(other.call(GET, 'm', key).status).toBe('notNow')
    world.publishMaps()
    expect(other.value(other.call(GET, 'm', key))).toBe(1)
  })

  test('below minInSync writes are refused and reads go on', () => {
    const { world, one, client } = twoCopies({ replication: { minInSync: 2 } })
    client.call(SET, 'm', key, 1)
    world.publish(() => one, [one], [], { backups: [], inSync: [one.replica] })
    world.later.run()
    expect(client.call(SET, 'm', key, 2).detail?.errorCode).toBe('NOT_ENOUGH_REPLICAS')
    expect(client.value(client.call(GET, 'm', key))).toBe(1)
  })

  test('stats tell of each copy, and count entries once', async () => {
    const { world, one, two, client } = twoCopies()
    client.call(SET, 'm', key, 1)
    world.pass(50)
    const [first, second] = [await one.ask({ kind: 'stats' }), await two.ask({ kind: 'stats' })]
    expect([first.entries, second.entries]).toEqual([1, 0])
    expect(first.replicas.find(({ partition }) => partition === 0)).toMatchObject({
      role: 'primary',
      isServing: true,
      entries: 1,
      learners: [],
    })
    expect(second.replicas.find(({ partition }) => partition === 0)).toMatchObject({ role: 'backup', isServing: false, entries: 1 })
  })
})

describe('time and trouble', () => {
  test('entries past their time go on every copy, and a read that finds one waits for its end', async () => {
    const cluster = twoCopies()
    const { world, one, two, client } = cluster
    client.call(SET, 'm', key, 1, { ttlMs: 100n })
    client.call(SET, 'm', keyIn(0, 1), 2, { ttlMs: 100n })
    world.pass(150)
    cut(cluster)
    const [read] = send(client, [GET, 'm', key]) as [number]
    world.later.run()
    expect(client.answers.has(read)).toBe(false)
    world.cut.clear()
    world.pass(300)
    expect(client.answer(read).status).toBe('absent')
    world.clock.advance(5000)
    one.shard.sweepExpired()
    world.pass(50)
    const { replicas } = await two.ask({ kind: 'stats' })
    expect(replicas.find(({ partition }) => partition === 0)?.entries).toBe(0)
  })

  test('a shard that would have to cut what is committed stops, and tells the control thread', () => {
    const { world, one, two, client } = twoCopies()
    client.call(SET, 'm', key, 1)
    client.call(SET, 'm', key, 2)
    world.pass(100)
    const epoch = world.view?.state.partitions[0]?.epoch as Epoch
    const entry = { epoch: (epoch - 1) as Epoch, position: 1, effects: [{ kind: 'mark' } as const] }
    const message: ReplicationMessage = {
      kind: 'append',
      partition: 0 as PartitionId,
      epoch,
      from: one.id,
      to: two.id,
      previous: { epoch: 0 as Epoch, position: 0 },
      entries: [entry],
      committed: 1,
      floor: 0,
      serving: true,
      sentAtMs: 0,
    }
    const other = two.connect()
    two.listener?.onPeerMessage(one.id, 'replication', encodeReplication([message]).slice())
    world.later.run()
    expect(two.broken).toMatch('I6')
    expect(other.failure).toMatchObject({ code: 'UNAVAILABLE' })
  })

  test('bytes of a peer that are no frame are dropped', () => {
    const { world, one, two, client } = twoCopies()
    two.listener?.onPeerMessage(one.id, 'replication', Buffer.from([10, 200, 1]))
    world.later.run()
    expect(two.logs.at(-1)).toMatch('dropped what replicas of a peer said')
    expect(client.call(SET, 'm', key, 1).status).toBe('ok')
  })

  test('a peer that stops answers what it took; the rest was not done, and is to be sent again', () => {
    const world = new World({ shards: 2, answersAsks: false })
    const [one, two] = world.shards as [TestShard, TestShard]
    const client = one.connect(true)
    const [taken] = send(client, [SET, 'm', keyIn(1), 1]) as [number]
    world.later.run()
    two.tell({ type: 'request', id: 1, request: { kind: 'stop', graceMs: 1000 } })
    const [late] = send(client, [SET, 'm', keyIn(1), 2]) as [number]
    world.timeStandsStill = true
    two.tell({ type: 'reply', id: world.asks[0]?.id ?? 0, value: world.define('m') })
    world.later.run()
    expect(client.answer(taken).status).toBe('ok')
    expect(client.answer(late).status).toBe('notNow')
    expect(client.call(GET, 'm', keyIn(1)).status).toBe('notNow')
  })
})

describe('a read that any copy may answer', () => {
  test('is answered by a backup with what it has', () => {
    const { world, two, client } = twoCopies()
    client.call(SET, 'm', key, 1)
    world.pass(50)
    const other = two.connect()
    expect(other.call(GET, 'm', key).status).toBe('notOwner')
    expect(other.value(other.call(GET, 'm', key, undefined, { anyReplica: true }))).toBe(1)
    expect(other.call(GET_ENTRY, 'm', key, undefined, { anyReplica: true }).detail?.version).toBeGreaterThan(0n)
    expect(other.call(SIZE, 'm', undefined, undefined, { partition: 0, anyReplica: true }).bytes.readBigUInt64BE()).toBe(1n)
    expect(other.call(SCAN, 'm', undefined, undefined, { partition: 0, anyReplica: true }).status).toBe('ok')
    expect(other.call(GET, 'm', keyIn(0, 1), undefined, { anyReplica: true }).status).toBe('absent')
    expect(other.call(SET, 'm', key, 2, { anyReplica: true }).status).toBe('notOwner')
  })

  test('is answered by a primary without promises, and does not wait', () => {
    const cluster = twoCopies()
    const { world, one, client } = cluster
    client.call(SET, 'm', key, 1)
    one.promise(1, world.version, world.clock.nowMs() - 1)
    cut(cluster)
    send(client, [SET, 'm', key, 2])
    expect(client.value(client.call(GET, 'm', key, undefined, { anyReplica: true }))).toBe(2)
  })
})

describe('numbered writes', () => {
  test('are done once, and every repeat gets the same answer', () => {
    const { world, client } = twoCopies()
    client.call(SET, 'm', key, 'before')
    client.openSession(0)
    const first = numbered(client, 1, PUT_IF_ABSENT, 'm', key, 'x')
    const second = numbered(client, 2, SET, 'm', key, 'after', { withVersion: true })
    world.later.run()
    const again = [numbered(client, 1, PUT_IF_ABSENT, 'm', key, 'x'), numbered(client, 2, SET, 'm', key, 'after', { withVersion: true })]
    world.later.run()
    const told = (id: number): unknown => ({ ...client.answer(id), detail: { ...client.answer(id).detail, index: 0 } })
    expect(again.map(told)).toEqual([first, second].map(told))
    expect(client.value(client.answer(first))).toBe('before')
    client.call(SET, 'm', key, 'latest')
    numbered(client, 2, SET, 'm', key, 'after')
    world.later.run()
    expect(client.value(client.call(GET, 'm', key))).toBe('latest')
  })

  test('are known to the backup that takes over', () => {
    const cluster = twoCopies()
    const { world, two, client } = cluster
    const ticket: Ticket = client.openSession(0)
    numbered(client, 1, SET, 'm', key, 'once')
    world.later.run()
    promote(cluster)
    const other = two.connect()
    other.declare(0, ticket)
    const repeat = numbered(other, 1, SET, 'm', key, 'twice')
    world.later.run()
    expect(other.answer(repeat).status).toBe('ok')
    expect(other.value(other.call(GET, 'm', key))).toBe('once')
  })

  test('one that was not acknowledged is done by the new primary, once', () => {
    const cluster = twoCopies()
    const { world, two, client } = cluster
    client.call(SET, 'm', key, 0)
    const ticket = client.openSession(0)
    cut(cluster)
    numbered(client, 1, SET, 'm', key, 1)
    world.later.run()
    promote(cluster)
    const other = two.connect()
    other.declare(0, ticket)
    numbered(other, 1, SET, 'm', key, 1)
    world.later.run()
    expect(other.value(other.call(GET, 'm', key))).toBe(1)
  })

  test('without a session, with an unknown one, below the trimmed number and beyond the window', () => {
    const { world, client } = twoCopies()
    client.call(SET, 'm', key, 0)
    const none = numbered(client, 1, SET, 'm', key, 1)
    client.openSession(0)
    const number = (n: number, distance: number): number => {
      const id = client.add(SET, 'm', key, n)
      client.number(n, distance)
      client.flush()
      world.later.run()
      return id
    }
    const ok = [number(1, 0), number(2, 0)]
    const trimmed = number(1, 0)
    const far = number(2000, 1999)
    client.declare(0, { epoch: 7, position: 7 })
    const unknown = number(3, 0)
    expect([none, ...ok, unknown].map(id => client.answer(id).status)).toEqual(['sessionUnknown', 'ok', 'ok', 'sessionUnknown'])
    expect(client.answer(trimmed).detail?.errorCode).toBe('OUTCOME_UNKNOWN')
    expect(client.answer(far).detail?.errorCode).toBe('RESOURCE_EXHAUSTED')
  })

  test('a call of a function that is not there is refused and not recorded', () => {
    const { world, client } = twoCopies()
    client.call(SET, 'm', key, 0)
    client.openSession(0)
    const id = client.add(INVOKE, 'm', key, 0, { function: 'none' })
    client.number(1)
    client.flush()
    world.later.run()
    expect(client.answer(id).detail?.errorCode).toBe('NOT_FOUND')
    const write = numbered(client, 1, SET, 'm', key, 1)
    world.later.run()
    expect(client.answer(write).status).toBe('ok')
  })

  test('pass through a gateway, the sessions of two clients at one partition too', () => {
    const { world, two } = twoCopies()
    const clients = [two.connect(true), two.connect(true)]
    const tickets = clients.map(client => client.openSession(0))
    expect(new Set(tickets.map(({ position }) => position)).size).toBe(2)
    const ids = [1, 2, 3].flatMap(n => clients.map((client, i) => [client, numbered(client, n, SET, 'm', keyIn(0, i), n)] as const))
    world.later.run()
    for (const [client, id] of ids) expect(client.answer(id).status).toBe('ok')
    const repeats = clients.map((client, i) => numbered(client, 1, SET, 'm', keyIn(0, i), 'again'))
    world.later.run()
    for (const [i, client] of clients.entries()) {
      expect(client.answer(repeats[i] as number).status).toBe('ok')
      expect(client.value(client.call(GET, 'm', keyIn(0, i)))).toBe(3)
    }
  })

  test('by single calls too', async () => {
    const { world, one } = twoCopies()
    const { server } = one
    if (server === undefined) throw new Error('not serving')
    const { ticket } = await settled(world, server.openSession({ partition: 0 }))
    const request = { ticket, number: 1, lowestUnanswered: 1 }
    const call = { map: 'm', key: Buffer.from(key), ttlMs: undefined, maxIdleMs: undefined, request }
    const first = await settled(world, server.set({ ...call, value: encodeValue('once') }))
    const again = await settled(world, server.set({ ...call, value: encodeValue('twice') }))
    expect(again).toEqual(first)
    await expect(
      settled(world, server.set({ ...call, value: encodeValue(1), request: { ...request, ticket: Buffer.alloc(16) } })),
    ).rejects.toMatchObject({
      code: 'NOT_FOUND',
    })
    await expect(
      settled(world, server.delete({ map: 'm', key: Buffer.from(key), request: { ...request, number: 0 } })),
    ).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
  })
})

describe('the order of numbered writes of which some were refused', () => {
  const waitMs = 500

  /** The first shard is gone, two sessions were opened on it; the second serves in half a second. */
  function slowFailOver(): { world: World; two: TestShard; three: TestShard; tickets: Ticket[] } {
    const world = new World({ shards: 3, backups: true })
    world.define('m')
    world.publishMaps()
    world.later.run()
    const [one, two, three] = world.shards as [TestShard, TestShard, TestShard]
    const tickets = [one.connect().openSession(0), one.connect().openSession(0)]
    const more = { backups: [], inSync: [two.replica] }
    world.publish(() => two, [two, three], [one], more, world.clock.nowMs() + waitMs)
    world.later.run()
    return { world, two, three, tickets }
  }

  /** `lowest`: the lowest number without an answer at the client. */
  function write(world: World, client: TestClient, number: number, lowest: number, value: unknown = number): string {
    const id = client.add(SET, 'm', key, value)
    client.number(number, number - lowest)
    client.flush()
    world.later.run()
    const { status, detail } = client.answer(id)
    return detail?.errorCode ?? status
  }

  test.each([
    ['at the shard', false],
    ['through a gateway', true],
  ])('a write does not pass one before it that was refused before the shard began to serve, %s', (_, gateway) => {
    const { world, two, three, tickets } = slowFailOver()
    const client = (gateway ? three : two).connect(gateway)
    client.declare(0, tickets[0] as Ticket)
    expect([1, 2].map(n => write(world, client, n, 1))).toEqual(['notNow', 'notNow'])
    world.pass(waitMs + 1)
    expect(write(world, client, 3, 1)).toBe('notNow')
    expect(client.call(GET, 'm', key).status).toBe('absent')
    expect([1, 2, 3, 4].map(n => write(world, client, n, 1))).toEqual(['ok', 'ok', 'ok', 'ok'])
    expect(client.value(client.call(GET, 'm', key))).toBe(4)
  })

  test.each([
    ['at the shard', false],
    ['through a gateway', true],
  ])('one that the client has given up holds nothing up, %s', (_, gateway) => {
    const { world, two, three, tickets } = slowFailOver()
    const client = (gateway ? three : two).connect(gateway)
    client.declare(0, tickets[0] as Ticket)
    expect([1, 2].map(n => write(world, client, n, 1))).toEqual(['notNow', 'notNow'])
    world.pass(waitMs + 1)
    expect(write(world, client, 3, 2)).toBe('notNow')
    expect(write(world, client, 4, 4)).toBe('ok')
    expect(write(world, client, 5, 4)).toBe('ok')
  })

  test('a refusal of what was sent again counts from there', () => {
    const { world, two, tickets } = slowFailOver()
    const client = two.connect()
    client.declare(0, tickets[0] as Ticket)
    expect([1, 2, 3, 2, 3].map(n => write(world, client, n, n === 1 ? 1 : 2))).toEqual(Array(5).fill('notNow'))
    world.pass(waitMs + 1)
    expect(write(world, client, 4, 2)).toBe('notNow')
    expect([2, 3, 4].map(n => write(world, client, n, 2))).toEqual(['ok', 'ok', 'ok'])
  })

  test('holds where the table that the client knows was newer, for a moment', () => {
    const { world, client } = twoCopies()
    client.openSession(0)
    client.tableVersion = BigInt(world.version + 1)
    expect(write(world, client, 1, 1)).toBe('notOwner')
    client.tableVersion = 0n
    expect(write(world, client, 2, 1)).toBe('notNow')
    expect([1, 2].map(n => write(world, client, n, 1))).toEqual(['ok', 'ok'])
  })

  test('holds no other session and no write without a number up', () => {
    const { world, two, tickets } = slowFailOver()
    const clients = tickets.map(ticket => {
      const client = two.connect()
      client.declare(0, ticket)
      return client
    }) as [TestClient, TestClient]
    expect(write(world, clients[0], 1, 1)).toBe('notNow')
    world.pass(waitMs + 1)
    expect(write(world, clients[1], 2, 1)).toBe('ok')
    expect(clients[0].call(SET, 'm', key, 'plain').status).toBe('ok')
    expect(write(world, clients[0], 2, 1)).toBe('notNow')
  })

  test('is kept for each of the sessions that a gateway declares in turn on one stream', () => {
    const { world, two, three, tickets } = slowFailOver()
    const wire = three.connect()
    const forward = (session: number, number: number): void => {
      wire.declare(0, tickets[session] as Ticket)
      wire.add(SET, 'm', keyIn(0, session), number)
      wire.number(number, number - 1)
      two.listener?.onPeerMessage(three.id, 'operations', OperationBatch.encode(wire.batch()).finish())
      world.later.run()
    }
    const reader = two.connect()
    const values = (): unknown[] => [0, 1].map(session => reader.value(reader.call(GET, 'm', keyIn(0, session))))
    forward(0, 1)
    forward(1, 1)
    world.pass(waitMs + 1)
    forward(0, 2)
    forward(1, 2)
    expect(values()).toEqual([undefined, undefined])
    forward(0, 1)
    forward(1, 2)
    forward(0, 2)
    expect(values()).toEqual([2, undefined])
    forward(1, 1)
    forward(1, 2)
    expect(values()).toEqual([2, 2])
  })

  test('a gateway whose link breaks sends nothing over the next one before what it had under way', () => {
    const { world, one, two } = twoCopies()
    const client = two.connect(true)
    client.openSession(0)
    world.cut.add(`${two.id}>${one.id}`)
    const id = numbered(client, 1, SET, 'm', key, 1)
    world.later.run()
    world.cut.clear()
    two.listener?.onPeerDown(one.id)
    world.later.run()
    expect(client.answer(id).detail?.errorCode).toBe('OUTCOME_UNKNOWN')
    expect(write(world, client, 2, 1)).toBe('notNow')
    expect([1, 2].map(n => write(world, client, n, 1))).toEqual(['ok', 'ok'])
    expect(client.value(client.call(GET, 'm', key))).toBe(2)
  })
})
