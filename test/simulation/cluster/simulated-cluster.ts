/** All hosts, the processes on them, and the truth about them that checkers ask for. */
import type { PartitionId, ShardId } from '../../../src/base/ids.ts'
import { randomInteger, type Random } from '../../../src/base/random.ts'
import type { ClusterView, Replica } from '../../../src/membership/cluster-state.ts'
import { giveUpLost, recordDeath } from '../../../src/membership/replica-transitions.ts'
import type { EntryName, World } from '../checkers/checker.ts'
import type { ActorClock } from '../engine/actor.ts'
import type { Counters } from '../engine/counters.ts'
import type { Network } from '../engine/network.ts'
import type { Scheduler } from '../engine/scheduler.ts'
import type { SessionValue, SimulatedCoordinator } from '../engine/simulated-coordinator.ts'
import type { Trace } from '../engine/trace.ts'
import type { BesetHosts } from '../faults/besetting.ts'
import type { SimulationOptions } from '../options.ts'
import type { AllRules } from '../simulation.ts'
import { controlAddress, SimulatedNode } from './simulated-node.ts'
import type { SimulatedShard } from './simulated-shard.ts'

const enoughBytes = 256 * 1024 * 1024
const twinOf = (name: string): string => `${name}t`

interface Host {
  readonly name: string
  readonly clock: ActorClock
  /** Of the node on it: its own, but for a twin. */
  readonly nodeName: string
  readonly zone: string
  readonly memoryBytes: number
  wallOffsetMs: number
  node: SimulatedNode | undefined
  incarnations: number
}

export interface ClusterParts {
  readonly scheduler: Scheduler
  readonly network: Network
  readonly coordinator: SimulatedCoordinator
  readonly random: Random
  readonly counters: Counters
  readonly trace: Trace
  readonly options: SimulationOptions
  readonly rules: AllRules
}

export class SimulatedCluster implements World, BesetHosts {
  readonly firstHosts: readonly string[]
  readonly spareHosts: readonly string[]
  readonly partitionCount: number
  readonly backups: number
  readonly minInSync: number
  onAcknowledged: (partition: PartitionId, name: EntryName, shard: ShardId) => void = () => {}
  onShardStopped: (shard: ShardId, reason: string) => void = () => {}
  onShardSpins: (shard: ShardId, partition: number) => void = () => {}
  readonly #parts: ClusterParts
  readonly #hosts = new Map<string, Host>()
  readonly #shards = new Map<ShardId, SimulatedShard>()
  /** Dead ones too. */
  readonly #everyShard = new Map<ShardId, SimulatedShard>()

  constructor(parts: ClusterParts) {
    this.#parts = parts
    const { options, random } = parts
    this.partitionCount = options.partitions
    this.backups = options.backups
    this.minInSync = options.minInSync
    const names = Array.from({ length: options.hosts + options.spareHosts }, (_, i) => `h${i + 1}`)
    this.firstHosts = names.slice(0, options.hosts)
    this.spareHosts = names.slice(options.hosts)
    for (const [index, name] of names.entries()) {
      const clock = { rate: 1 + (random.next() - 0.5) * 0.02, offsetMs: Math.floor(random.next() * 1e6) }
      const wallOffsetMs = 1_700_000_000_000 - clock.offsetMs + Math.floor((random.next() - 0.5) * 2000)
      const zone = options.zones === 0 ? '' : `z${index % options.zones}`
      const memoryBytes = index === 0 ? (options.tightMemoryBytes ?? enoughBytes) : enoughBytes
      this.#hosts.set(name, { name, clock, nodeName: name, zone, memoryBytes, wallOffsetMs, node: undefined, incarnations: 0 })
    }
    parts.coordinator.onSession = session => this.#fence(session)
  }

  get names(): readonly string[] {
    return [...this.#hosts.keys()]
  }

  get nowMs(): number {
    return this.#parts.scheduler.nowMs
  }

  get view(): ClusterView | undefined {
    return this.#parts.coordinator.view
  }

  get nodes(): readonly SimulatedNode[] {
    return [...this.#hosts.values()].map(({ node }) => node).filter(node => node !== undefined)
  }

  /** Lost, or kept for a process that is dead and never comes back: only an operator can know that. */
  get needsOperator(): boolean {
    return this.view?.state.partitions.some(({ inSync }) => !inSync.some(({ shard }) => this.isAlive(shard))) ?? false
  }

  controlAddresses(): readonly string[] {
    return [...this.#hosts.values()].filter(({ node }) => node !== undefined).map(({ name }) => controlAddress(name))
  }

  isRunning(host: string): boolean {
    return this.#hosts.get(host)?.node !== undefined
  }

  isAlive(shard: ShardId): boolean {
    return this.#shards.has(shard)
  }

  holds(replica: Replica, partition: PartitionId, name: EntryName): boolean {
    return this.#everyShard.get(replica.shard)?.replicas[partition]?.holds(name) ?? false
  }

  holdersOf(partition: PartitionId, name: EntryName): number {
    return [...this.#everyShard.values()].filter(({ replicas }) => replicas[partition]?.holds(name)).length
  }

  readersOf(partition: PartitionId): readonly ShardId[] {
    const readers: ShardId[] = []
    for (const [id, shard] of this.#shards) if (shard.mayAnswerReads(partition)) readers.push(id)
    return readers
  }

  start(name: string): void {
    const host = this.#hosts.get(name)
    if (host === undefined || host.node !== undefined) return
    const { rules, scheduler } = this.#parts
    if (rules.driver.freshIncarnation || host.incarnations === 0) host.incarnations += 1
    const node: SimulatedNode = new SimulatedNode({
      ...this.#parts,
      host: name,
      name: host.nodeName,
      zone: host.zone,
      incarnation: host.incarnations,
      clock: host.clock,
      wallOffsetMs: () => host.wallOffsetMs,
      memoryBytes: host.memoryBytes,
      expectedNodes: this.firstHosts.length,
      onAcknowledged: (partition, entry, shard) => this.onAcknowledged(partition, entry, shard),
      onShardStopped: (shard, reason) => {
        this.onShardStopped(shard, reason)
        this.#end(host, node)
      },
      onShardSpins: (shard, partition) => this.onShardSpins(shard, partition),
      // It left or was declared dead: the process ends; the host may be used again.
      onEnd: () => {
        this.#end(host, node)
        if (this.firstHosts.includes(name)) scheduler.after(500 + this.#parts.random.next() * 1000, () => this.start(name))
      },
    })
    host.node = node
    for (const shard of node.shards) {
      this.#shards.set(shard.id, shard)
      this.#everyShard.set(shard.id, shard)
    }
    this.#parts.trace.add(this.nowMs, name, () => `starts as ${node.id}`)
    node.start()
  }

  startAllFirst(): void {
    for (const name of this.firstHosts) this.start(name)
  }

  crash(name: string): void {
    const host = this.#hosts.get(name)
    if (host?.node === undefined) return
    const { node } = host
    this.#end(host, node)
    const shards = node.shards.map(({ id }) => id)
    for (const other of this.#hosts.values()) {
      if (other === host) continue
      // A reset reaches whoever can be reached; now and then one is lost, and silence has to tell.
      if (this.#parts.network.isCut(name, other.name) || this.#parts.random.next() < 0.2) continue
      this.#parts.scheduler.after(0.5 + this.#parts.random.next() * 5, () => other.node?.handleReset(node.id, shards))
    }
  }

  reset(a: string, b: string): void {
    const one = this.#hosts.get(a)?.node
    const other = this.#hosts.get(b)?.node
    if (one === undefined || other === undefined) return
    one.handleReset(
      other.id,
      other.shards.map(({ id }) => id),
    )
    other.handleReset(
      one.id,
      one.shards.map(({ id }) => id),
    )
  }

  pause(name: string, part: 'all' | 'shards' | 'control', ms: number): void {
    const node = this.#hosts.get(name)?.node
    if (node === undefined) return
    const actors = [...(part === 'shards' ? [] : [node.control]), ...(part === 'control' ? [] : node.shards.map(({ actor }) => actor))]
    for (const actor of actors) actor.pause()
    this.#parts.scheduler.after(ms, () => {
      for (const actor of actors) actor.resume()
    })
  }

  leave(name: string): void {
    // Enough must stay for the copies.
    if (this.nodes.length > this.backups + 1) this.#hosts.get(name)?.node?.leave()
  }

  shardDies(name: string, index: number): boolean {
    const node = this.#hosts.get(name)?.node
    const shard = node?.shards[index % node.shards.length]
    if (node === undefined || shard === undefined || !this.#shards.has(shard.id)) return false
    shard.stop()
    this.#shards.delete(shard.id)
    this.#parts.scheduler.after(this.#parts.random.next() * 60, () => {
      if (this.#hosts.get(name)?.node === node) this.crash(name)
    })
    return true
  }

  wallClockJumps(name: string, byMs: number): void {
    const host = this.#hosts.get(name)
    if (host !== undefined) host.wallOffsetMs += byMs
  }

  startTwin(name: string): void {
    const host = this.#hosts.get(name)
    if (host === undefined) return
    const twin = twinOf(name)
    const clock = { ...host.clock, offsetMs: host.clock.offsetMs + 1 }
    // Its incarnations are told apart from those of the first.
    if (!this.#hosts.has(twin)) this.#hosts.set(twin, { ...host, name: twin, clock, node: undefined, incarnations: 1000 })
    this.start(twin)
  }

  endTwin(name: string): void {
    if (this.isRunning(twinOf(name))) this.crash(twinOf(name))
  }

  endTwins(): void {
    for (const name of [...this.firstHosts, ...this.spareHosts]) this.endTwin(name)
  }

  /** What whoever runs the processes has to see to: of two under one name the older one has ended before the other takes the name over. */
  #fence({ name, node }: SessionValue): void {
    for (const [host, { nodeName, node: other }] of this.#hosts) {
      if (nodeName !== name || other === undefined || other.id === node) continue
      // It may be one that waits for the name as well.
      if (!(this.view?.state.members.some(({ id }) => id === other.id) ?? false)) continue
      this.#parts.counters.add('twin.fenced')
      this.crash(host)
    }
  }

  /** An operator who knows which processes have ended declares them dead, and gives up what is lost. */
  recoverLost(): void {
    const { random, rules } = this.#parts
    const { nodes } = this
    const node = nodes[randomInteger(random, Math.max(1, nodes.length))]
    node?.update('recovered', before => {
      const running = new Set(this.nodes.map(({ id }) => id))
      const ended = before.members.filter(({ id }) => !running.has(id))
      const state = ended.reduce((next, { id }) => recordDeath(next, id, rules.membership), before)
      return giveUpLost(state, rules.membership)
    })
  }

  describe(view: ClusterView): string {
    const members = view.state.members.map(({ id, status }) => `${id}${status === 'alive' ? '' : ` ${status}`}`).join(', ')
    const rows = view.state.partitions.map(({ epoch, primary, backups, inSync, handedOver }, partition) => {
      const others = backups.map(({ shard }) => (inSync.some(one => one.shard === shard) ? shard : `(${shard})`)).join(' ')
      return `p${partition}@${epoch}${handedOver ? 'h' : ''} ${primary?.shard ?? 'LOST'}${inSync.length > 0 && !inSync.some(one => one.shard === primary?.shard) ? '?' : ''} ${others}`
    })
    return `leader ${view.state.leader ?? 'none'} [${members}] ${rows.join(' | ')}`
  }

  #end(host: Host, node: SimulatedNode): void {
    node.stop()
    for (const { id } of node.shards) this.#shards.delete(id)
    if (host.node === node) host.node = undefined
    this.#parts.trace.add(this.nowMs, host.name, () => `${node.id} has ended`)
  }
}
