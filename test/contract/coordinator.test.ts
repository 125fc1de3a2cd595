import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import { connectCoordinator } from '../../src/coordinator/connect-coordinator.ts'
import { connectEtcd } from '../../src/coordinator/etcd/etcd-coordinator.ts'
import { EmbeddedCoordinator } from '../../src/coordinator/embedded.ts'
import { serveCoordinator } from '../../src/coordinator/served.ts'
import type { Coordinator } from '../../src/membership/coordinator-port.ts'
import { createGrpcClient } from '../../src/transport/grpc/client.ts'
import { CoordinatorDefinition } from '../../src/wire/generated/nearstate/v1/coordinator.ts'
import { bytes, coordinatorContract, WatchLog } from './coordinator-contract.ts'
import { EtcdServers, hasEtcd } from './etcd-servers.ts'
import { eventually } from './eventually.ts'

const host = '127.0.0.1'

coordinatorContract('embedded', async () => {
  const coordinator = new EmbeddedCoordinator()
  return { coordinator, connectAgain: () => coordinator, close: () => coordinator.close() }
})

coordinatorContract('served', async () => {
  const store = new EmbeddedCoordinator()
  const server = await serveCoordinator(store, { host, port: 0 })
  const clients: Coordinator[] = []
  const connectAgain = (): Coordinator => {
    const client = connectCoordinator(`${host}:${server.port}`)
    clients.push(client)
    return client
  }
  return {
    coordinator: connectAgain(),
    connectAgain,
    close: async () => {
      await Promise.all(clients.map(client => client.close()))
      await server.stop(100)
      await store.close()
    },
  }
})

const etcdContract = (count: number): void => {
  const name = `etcd with ${count} member${count === 1 ? '' : 's'}`
  describe.skipIf(!hasEtcd)(`${name}${hasEtcd ? '' : ' (skipped: there is no etcd on this machine)'}`, () => {
    let servers: EtcdServers
    let clusters = 0
    beforeAll(async () => {
      servers = await EtcdServers.start(count)
    })
    afterAll(() => servers?.stop())
    coordinatorContract(name, async () => {
      const clients: Coordinator[] = []
      clusters += 1
      const cluster = `contract-${clusters}`
      const connectAgain = (): Coordinator => {
        const client = connectEtcd({ members: servers.addresses, cluster })
        clients.push(client)
        return client
      }
      return {
        coordinator: connectAgain(),
        connectAgain,
        close: async () => {
          await Promise.all(clients.map(client => client.close()))
        },
      }
    })
  })
}
etcdContract(1)
etcdContract(3)

describe('sessions of the embedded coordinator', () => {
  const make = () => {
    const clock = new ManualClock()
    const coordinator = new EmbeddedCoordinator({ clock })
    const pass = (ms: number): void => {
      for (let passed = 0; passed < ms; passed += 100) {
        clock.advance(100)
        coordinator.sweepSessions()
      }
    }
    return { clock, coordinator, pass }
  }

  it('lapse one time to live after the last renewal, and take their key with them', async () => {
    const { coordinator, pass } = make()
    const id = coordinator.startSession('sessions/a', bytes('1'), 3000)
    pass(2900)
    expect(coordinator.renewSession(id)).toBe(true)
    pass(2900)
    expect(await coordinator.read('sessions/a')).toBeDefined()
    pass(100)
    expect(await coordinator.read('sessions/a')).toBeUndefined()
    expect(coordinator.renewSession(id)).toBe(false)
    await coordinator.close()
  })

  it('do not lapse by a time in which the coordinator itself stood still', async () => {
    const { clock, coordinator, pass } = make()
    pass(100)
    const id = coordinator.startSession('sessions/a', bytes('1'), 3000)
    clock.advance(60_000)
    expect(coordinator.renewSession(id)).toBe(true)
    await coordinator.close()
  })

  it('end with the coordinator, whose calls then fail', async () => {
    const { coordinator } = make()
    const session = await coordinator.openSession('sessions/a', bytes('1'), 3000)
    await coordinator.close()
    await session.lapsed
    await expect(coordinator.read('a')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })
})

describe('the served coordinator over a broken connection', () => {
  const stops: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop()
  })
  async function start(store: EmbeddedCoordinator, port = 0) {
    const server = await serveCoordinator(store, { host, port })
    stops.push(() => server.stop(50))
    return server
  }
  function connect(port: number): Coordinator {
    const client = connectCoordinator(`${host}:${port}`)
    stops.push(() => client.close())
    return client
  }

  it('watches go on after the server is back, and report what was deleted meanwhile', async () => {
    const store = new EmbeddedCoordinator()
    const server = await start(store)
    const log = new WatchLog(connect(server.port), '')
    const { version } = await store.compareAndSet('a', 0, bytes('1'))
    await store.compareAndSet('b', 0, bytes('1'))
    await log.untilLine('b=1')
    await server.stop(50)
    await store.compareAndSet('a', version, undefined)
    await store.compareAndSet('c', 0, bytes('1'))
    log.lines.length = 0
    await start(store, server.port)
    await log.untilLine('caught up')
    expect([...log.lines].sort()).toEqual(['a deleted', 'b=1', 'c=1', 'caught up'])
    await store.compareAndSet('d', 0, bytes('1'))
    await log.untilLine('d=1')
  })

  it('a session survives a break shorter than its time to live', async () => {
    const store = new EmbeddedCoordinator()
    const server = await start(store)
    const session = await connect(server.port).openSession('sessions/a', bytes('1'), 2000)
    await server.stop(50)
    await new Promise(resolve => setTimeout(resolve, 500))
    await start(store, server.port)
    const ended = await Promise.race([session.lapsed.then(() => true), new Promise(resolve => setTimeout(() => resolve(false), 2500))])
    expect(ended).toBe(false)
    expect(await store.read('sessions/a')).toBeDefined()
  })

  it('a session that cannot be renewed for its time to live says so, and learns when the server is back that it has lapsed', async () => {
    const store = new EmbeddedCoordinator()
    const server = await start(store)
    const reach: string[] = []
    const onReach = (outBecause: string | undefined): void => void reach.push(outBecause === undefined ? 'back' : 'out')
    const session = await connect(server.port).openSession('sessions/a', bytes('1'), 400, onReach)
    await server.stop(50)
    await eventually(() => reach).toEqual(['out'])
    await eventually(() => store.read('sessions/a')).toBeUndefined()
    await start(store, server.port)
    await session.lapsed
    expect(reach).toEqual(['out', 'back'])
  })

  it('a session unknown to a server that has forgotten everything has lapsed', async () => {
    const server = await start(new EmbeddedCoordinator())
    const client = connect(server.port)
    const session = await client.openSession('sessions/a', bytes('1'), 3000)
    await server.stop(50)
    await start(new EmbeddedCoordinator(), server.port)
    await session.lapsed
  })

  it('calls fail with UNAVAILABLE while it is away, and work when it is back', async () => {
    const store = new EmbeddedCoordinator()
    const server = await start(store)
    const client = connect(server.port)
    await client.compareAndSet('a', 0, bytes('1'))
    await server.stop(50)
    await expect(client.read('a')).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true })
    await start(store, server.port)
    await expect.poll(() => client.read('a').catch(() => undefined), { timeout: 5000 }).toBeDefined()
  })

  it('refuses keys and times to live that make no sense', async () => {
    const server = await start(new EmbeddedCoordinator())
    const client = connect(server.port)
    await expect(client.compareAndSet('', 0, bytes('1'))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(client.compareAndSet('x'.repeat(600), 0, bytes('1'))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(client.openSession('s', bytes('1'), 5)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  it('ends the watch of a reader that has stopped reading', async () => {
    const store = new EmbeddedCoordinator()
    const server = await start(store)
    const grpc = createGrpcClient(CoordinatorDefinition, `${host}:${server.port}`)
    const events = grpc.watch({ prefix: '' })[Symbol.asyncIterator]()
    await expect(events.next()).resolves.toMatchObject({ value: { caughtUp: true } })
    const value = new Uint8Array(1024)
    for (let version = 0, written = 0; written < 16_000; written += 1) {
      const { version: next } = await store.compareAndSet('a', version, value)
      version = next
      if (written % 500 === 0) await new Promise(resolve => setImmediate(resolve))
    }
    let read = 0
    const readOn = async (): Promise<void> => {
      for (let event = await events.next(); event.done !== true; event = await events.next()) read += 1
    }
    await expect(readOn()).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' })
    expect(read).toBeLessThan(16_000)
    grpc.close()
    await store.close()
  })

  it('refuses more than it can hold', async () => {
    const store = new EmbeddedCoordinator()
    const big = new Uint8Array(40 * 1024 * 1024)
    await store.compareAndSet('a', 0, big)
    await expect(store.compareAndSet('b', 0, big)).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' })
    await store.close()
  })
})
