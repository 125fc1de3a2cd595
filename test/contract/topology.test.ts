/** The client's copy of the cluster description, over gRPC: which node is followed, and when another one. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { NearstateError } from '../../src/base/errors.ts'
import { Topology } from '../../src/client/topology.ts'
import { serveGrpc, type GrpcServer } from '../../src/transport/grpc/server.ts'
import { bindService, type Implementation } from '../../src/transport/grpc/service.ts'
import { AdminDefinition, type ClusterDescription } from '../../src/wire/generated/nearstate/v1/admin.ts'
import { describeFake } from '../unit/client/fake-cluster.ts'
import { eventually } from './eventually.ts'

/** A control service that tells what it is told to, when it is told to. */
class FakeNode {
  server: GrpcServer | undefined
  version: bigint
  watching = 0
  #changed = Promise.withResolvers<void>()

  constructor(version: bigint) {
    this.version = version
  }

  async start(): Promise<void> {
    const service = {
      describe: async () => describeFake(this.version),
      watch: (_: unknown, { signal }: { signal: AbortSignal }) => this.#watch(signal),
    }
    const bound = bindService(AdminDefinition, service as unknown as Implementation<typeof AdminDefinition>)
    this.server = await serveGrpc({ host: '127.0.0.1', port: 0, services: [bound] })
  }

  get address(): string {
    return `127.0.0.1:${this.server?.port}`
  }

  announce(version: bigint): void {
    this.version = version
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  async *#watch(signal: AbortSignal): AsyncGenerator<ClusterDescription> {
    this.watching += 1
    const aborted = new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
    try {
      while (!signal.aborted) {
        yield describeFake(this.version)
        await Promise.race([this.#changed.promise, aborted])
      }
    } finally {
      this.watching -= 1
    }
  }
}

describe('a topology', () => {
  let nodes: FakeNode[]
  let topology: Topology
  let events: string[]

  beforeEach(async () => {
    nodes = [new FakeNode(1n), new FakeNode(1n)]
    for (const node of nodes) await node.start()
    events = []
    const place = (endpoint: string): number => nodes.findIndex(node => node.address === endpoint)
    topology = new Topology(
      nodes.map(node => node.address),
      {
        onDescription: ({ version }) => events.push(`version ${version}`),
        onConnected: endpoint => events.push(`connected ${place(endpoint)}`),
        onDisconnected: (endpoint, { code }) => events.push(`disconnected ${place(endpoint)} ${code}`),
      },
    )
    await topology.start(5000)
  })

  afterEach(async () => {
    await topology.stop()
    for (const node of nodes) await node.server?.stop(0)
  })

  test('follows one node, and another when that one goes away', async () => {
    expect(events).toEqual(['connected 0', 'version 1'])
    nodes[0]?.announce(2n)
    await eventually(() => events.at(-1)).toBe('version 2')
    await nodes[0]?.server?.stop(0)
    await eventually(() => events.slice(3)).toEqual(['disconnected 0 UNAVAILABLE', 'connected 1'])
    nodes[1]?.announce(3n)
    await eventually(() => events.at(-1)).toBe('version 3')
  })

  test('that is told of something newer asks the others, and follows the one that knows it', async () => {
    // The node that is followed is cut off from its cluster, not from this client.
    if (nodes[1] !== undefined) nodes[1].version = 5n
    topology.refresh()
    topology.refresh()
    await eventually(() => events.slice(2)).toEqual(['version 5', 'disconnected 0 UNAVAILABLE', 'connected 1'])
    expect(topology.current?.version).toBe(5n)
    await eventually(() => nodes.map(node => node.watching)).toEqual([0, 1])
    nodes[1]?.announce(6n)
    await eventually(() => events.at(-1)).toBe('version 6')
  })

  test('stays where it is when nobody knows better', async () => {
    topology.refresh()
    await new Promise(resolve => setTimeout(resolve, 500))
    expect(events).toEqual(['connected 0', 'version 1'])
    expect(nodes.map(node => node.watching)).toEqual([1, 0])
  })

  test('that is stopped in the midst of asking is stopped', async () => {
    topology.refresh()
    await topology.stop()
    expect(events).toEqual(['connected 0', 'version 1'])
  })

  test('is refused when no endpoint answers, by their names', async () => {
    const [address] = nodes.map(node => node.address) as [string]
    await nodes[0]?.server?.stop(0)
    const alone = new Topology([address], { onDescription: () => undefined, onConnected: () => undefined, onDisconnected: () => undefined })
    const failure = await alone.start(200).catch((thrown: unknown) => thrown)
    expect(failure).toBeInstanceOf(NearstateError)
    expect(failure).toMatchObject({ code: 'UNAVAILABLE', message: expect.stringContaining(address) })
  })
})
