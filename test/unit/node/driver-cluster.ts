/** Drivers of several nodes around one embedded coordinator, on fake timers; shards that do at once what primaries do. */
import { vi } from 'vitest'
import type { Clock } from '../../../src/base/clock.ts'
import { NearstateError } from '../../../src/base/errors.ts'
import type { NodeId, PartitionId, ShardId } from '../../../src/base/ids.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { EmbeddedCoordinator } from '../../../src/coordinator/embedded.ts'
import type { ClusterState, Member } from '../../../src/membership/cluster-state.ts'
import type { Coordinator } from '../../../src/membership/coordinator-port.ts'
import { ClusterDriver, type PeerLink } from '../../../src/node/cluster-driver.ts'
import { ViewFeed } from '../../../src/node/view-feed.ts'
import { type HandOverOrder, isSameReplica, type Replica } from '../../../src/partitioning/partition-table.ts'
import type { HeldPromise } from '../../../src/replication/replica-port.ts'
import { createPromiseCell, PromiseCellReader } from '../../../src/shard/promise-cell.ts'
import type { ShardCommand } from '../../../src/shard/protocol.ts'
import type { Logger } from '../../../src/telemetry/logger.ts'

type ViewCommand = ShardCommand & { readonly kind: 'view' }

export const useFakeTimers = (): void => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'] })
}

export const clock: Clock = { nowMs: () => performance.now(), wallTimeMs: () => Date.now() }

/** Runs what is due within `ms`, promises included. */
export const advance = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms)

export class TestNode {
  readonly id: NodeId
  readonly member: Member
  readonly driver: ClusterDriver
  readonly feed = new ViewFeed()
  readonly logged: string[] = []
  deposed: string[] = []
  leaveAsked = 0
  /** How much further its clock is than the timers. */
  skew = 0
  /** What happens to calls that reach it: answered, refused at once, or not answered. */
  reach: 'there' | 'refused' | 'silent' = 'there'
  /** Its shards carry out orders and add learners. */
  shardsWork = true
  command: ViewCommand | undefined
  readonly #promises: PromiseCellReader

  constructor(cluster: DriverCluster, name: string, incarnation: number, coordinator: Coordinator, backups: number) {
    this.id = `${name}#${incarnation}` as NodeId
    this.member = {
      name,
      id: this.id,
      pid: incarnation,
      status: 'alive',
      zone: '',
      version: '0',
      address: name,
      http: '',
      shards: [{ id: `${name}.0#${incarnation}` as ShardId, address: `${name}:1` }],
      startedAtMs: 0,
    }
    const cell = createPromiseCell()
    this.#promises = new PromiseCellReader(cell)
    const note = (message: string): void => void this.logged.push(message)
    const log: Logger = { debug: () => {}, info: note, warn: note, error: note }
    this.driver = new ClusterDriver({
      coordinator,
      feed: this.feed,
      cluster: 'test',
      partitionCount: 12,
      jobs: { canHold: false, holdForMove: () => Promise.resolve(), release: () => {} },
      self: { id: this.id, name },
      membership: {
        expectedNodes: cluster.expectedNodes,
        backups,
        sessionTtlMs: 3000,
        silenceMs: 1000,
        leaderSilenceMs: 500,
        movesPerNode: 2,
      },
      heartbeatMs: 250,
      leaseMs: 600,
      marginMs: 50,
      leaveTimeoutMs: 10_000,
      clock: { nowMs: () => clock.nowMs() + this.skew, wallTimeMs: clock.wallTimeMs },
      random: seededRandom(1),
      promiseCell: cell,
      linkTo: member => cluster.link(this, member),
      renewLink: () => {},
      postView: command => {
        this.command = command
        this.#work(command.view.state)
      },
      postOrder: order => this.#handOver(order),
      onDeposed: reason => void this.deposed.push(reason),
      onLeaveAsked: () => {
        this.leaveAsked += 1
      },
      log,
    })
  }

  get state(): ClusterState {
    const view = this.feed.view
    if (view === undefined) throw new Error(`${this.id} knows no state`)
    return view.state
  }

  /** As this node's shards see it. */
  held(of: TestNode): HeldPromise | undefined {
    const slot = this.command?.promiseSlots.find(([node]) => node === of.id)?.[1]
    return slot === undefined ? undefined : this.#promises.read(slot)
  }

  /** kill -9 */
  async kill(): Promise<void> {
    this.reach = 'refused'
    await this.driver.stop('quiet')
  }

  #work(state: ClusterState): void {
    for (const [partition, { epoch, primary, backups, inSync }] of state.partitions.entries()) {
      if (!this.shardsWork || primary?.node !== this.id) continue
      const isThere = ({ node }: Replica): boolean => state.members.some(({ id, status }) => id === node && status !== 'suspect')
      const learner = backups.find(backup => isThere(backup) && !inSync.some(replica => isSameReplica(replica, backup)))
      if (learner === undefined) continue
      const request = { kind: 'add', partition: partition as PartitionId, epoch, from: primary, replica: learner } as const
      setTimeout(() => this.driver.routeRequest(request), 1)
    }
  }

  #handOver({ partition, epoch, from, to }: HandOverOrder): void {
    if (this.shardsWork) this.driver.routeRequest({ kind: 'handOver', partition, epoch, from, replica: to })
  }
}

export class DriverCluster {
  readonly coordinator = new EmbeddedCoordinator()
  readonly expectedNodes: number
  readonly nodes: TestNode[] = []
  readonly #backups: number

  constructor(expectedNodes: number, backups = 1) {
    this.expectedNodes = expectedNodes
    this.#backups = backups
  }

  /** A node that has not joined yet. */
  add(name: string, incarnation = 1, coordinator: Coordinator = this.coordinator): TestNode {
    const node = new TestNode(this, name, incarnation, coordinator, this.#backups)
    this.nodes.push(node)
    return node
  }

  async start(...names: string[]): Promise<TestNode[]> {
    const nodes = names.map(name => this.add(name))
    const joined = Promise.all(nodes.map(node => node.driver.join(node.member)))
    await advance(1000)
    await joined
    return nodes
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map(node => node.driver.stop('quiet')))
    await this.coordinator.close()
  }

  link(from: TestNode, to: Member): PeerLink {
    const call = <T>(run: (node: TestNode) => Promise<T>, timeoutMs = 500): Promise<T> => {
      const node = this.nodes.findLast(other => other.member.address === to.address)
      if (node === undefined || node.reach === 'refused' || from.reach === 'refused')
        return Promise.reject(new NearstateError('UNAVAILABLE', 'connection refused'))
      if (node.reach === 'silent' || from.reach === 'silent') {
        return new Promise((_, reject) => {
          setTimeout(() => reject(new NearstateError('DEADLINE_EXCEEDED', 'no answer')), timeoutMs)
        })
      }
      return run(node)
    }
    return {
      beat: (request, { timeoutMs }) => call(node => node.driver.beat(request), timeoutMs),
      requestReplica: (request, { timeoutMs }) => call(node => node.driver.requestReplica(request), timeoutMs),
      orderHandOver: (request, { timeoutMs }) => call(node => node.driver.orderHandOver(request), timeoutMs),
    }
  }
}

/** A coordinator that can be out of reach. */
export function cuttable(inner: Coordinator): Coordinator & { isCut: boolean } {
  const check = (): void => {
    if (coordinator.isCut) throw new NearstateError('UNAVAILABLE', 'the coordinator cannot be reached')
  }
  const coordinator = {
    isCut: false,
    description: 'cuttable',
    read: async (key: string) => (check(), inner.read(key)),
    list: async (prefix: string) => (check(), inner.list(prefix)),
    compareAndSet: async (...parameters: Parameters<Coordinator['compareAndSet']>) => (check(), inner.compareAndSet(...parameters)),
    watch: (...parameters: Parameters<Coordinator['watch']>) => inner.watch(...parameters),
    openSession: async (...parameters: Parameters<Coordinator['openSession']>) => (check(), inner.openSession(...parameters)),
    close: () => inner.close(),
  }
  return coordinator
}
