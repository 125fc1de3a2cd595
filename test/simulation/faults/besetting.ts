/** Carries planned faults out on a running cluster, and takes them back when their time is over. */
import type { Counters } from '../engine/counters.ts'
import { calmLuck, type Network, type NetworkLuck } from '../engine/network.ts'
import type { Scheduler } from '../engine/scheduler.ts'
import { coordinatorHost, type SimulatedCoordinator } from '../engine/simulated-coordinator.ts'
import type { Trace } from '../engine/trace.ts'
import type { Fault, TimedFault } from './fault.ts'

/** What a fault can do to hosts. Each does nothing where it makes no sense now (a crash of a host without a process). */
export interface BesetHosts {
  readonly names: readonly string[]
  isRunning(host: string): boolean
  start(host: string): void
  crash(host: string): void
  pause(host: string, part: 'all' | 'shards' | 'control', ms: number): void
  leave(host: string): void
  /** Answers whether there was one. */
  shardDies(host: string, shard: number): boolean
  wallClockJumps(host: string, byMs: number): void
  startTwin(host: string): void
  endTwin(host: string): void
  endTwins(): void
  recoverLost(): void
  /** The connections between the two break, and both ends are told. */
  reset(a: string, b: string): void
}

export class Besetting {
  readonly #scheduler: Scheduler
  readonly #network: Network
  readonly #coordinator: SimulatedCoordinator
  readonly #hosts: BesetHosts
  readonly #counters: Counters
  readonly #trace: Trace
  readonly #sessionTtlMs: number
  readonly #luck: NetworkLuck
  #isOver = false
  readonly #cuts = new Set<() => void>()

  constructor(parts: {
    readonly scheduler: Scheduler
    readonly network: Network
    readonly coordinator: SimulatedCoordinator
    readonly hosts: BesetHosts
    readonly counters: Counters
    readonly trace: Trace
    readonly sessionTtlMs: number
    readonly luck: NetworkLuck
  }) {
    this.#scheduler = parts.scheduler
    this.#network = parts.network
    this.#coordinator = parts.coordinator
    this.#hosts = parts.hosts
    this.#counters = parts.counters
    this.#trace = parts.trace
    this.#sessionTtlMs = parts.sessionTtlMs
    this.#luck = parts.luck
  }

  schedule(faults: readonly TimedFault[]): void {
    for (const { atMs, fault } of faults) {
      this.#scheduler.at(atMs, () => {
        if (!this.#isOver) this.carryOut(fault)
      })
    }
  }

  /** The weather clears up: everything is healed, and every host that was ever there runs. */
  end(): void {
    this.#isOver = true
    for (const heal of this.#cuts) heal()
    this.#network.luck = calmLuck
    if (this.#coordinator.isDown) this.#coordinator.comeBack(this.#sessionTtlMs)
    this.#coordinator.lostAnswers = 0
    this.#hosts.endTwins()
  }

  carryOut(fault: Fault): void {
    this.#trace.add(this.#scheduler.nowMs, 'FAULT', () => JSON.stringify(fault))
    this.#counters.add(`fault.${fault.kind}`)
    switch (fault.kind) {
      case 'crash':
        return this.#crash(fault.host, fault.backAfterMs)
      case 'crashMany':
        for (const host of fault.hosts) this.#crash(host, fault.backAfterMs)
        return
      case 'pause':
        return this.#hosts.pause(fault.host, 'all', fault.ms)
      case 'pauseShard':
        return this.#hosts.pause(fault.host, 'shards', fault.ms)
      case 'pauseControl':
        return this.#hosts.pause(fault.host, 'control', fault.ms)
      case 'cutOneWay':
        return this.#cut([[fault.from, fault.to]], fault.ms, fault.reset)
      case 'cutBothWays':
        return this.#cut(bothWays(fault.a, fault.b), fault.ms, fault.reset)
      case 'isolate': {
        const others = this.#hosts.names.filter(other => other !== fault.host)
        const far = fault.alsoCoordinator ? [...others, coordinatorHost] : others
        return this.#cut(
          far.flatMap(other => bothWays(fault.host, other)),
          fault.ms,
          fault.reset,
        )
      }
      case 'cutCoordinator':
        return this.#cut(bothWays(fault.host, coordinatorHost), fault.ms)
      case 'coordinatorOutage':
      case 'outageAtStart':
        return this.#outage(fault.ms)
      case 'outageAtFailOver':
        this.#crash(fault.host, fault.backAfterMs)
        return this.#scheduler.after(fault.outageAfterMs, () => {
          if (!this.#isOver) this.#outage(fault.ms)
        })
      case 'coordinatorLosesAnswers':
        this.#coordinator.lostAnswers += fault.count
        return
      case 'badNetwork':
        this.#network.luck = fault.luck
        this.#scheduler.after(fault.ms, () => {
          if (this.#network.luck === fault.luck) this.#network.luck = this.#luck
        })
        return
      case 'join':
        return this.#hosts.start(fault.host)
      case 'leave':
        return this.#hosts.leave(fault.host)
      case 'quickRestart':
        return this.#crash(fault.host, 20)
      case 'recover':
        return this.#hosts.recoverLost()
      case 'shardDies':
        if (this.#hosts.shardDies(fault.host, fault.shard)) this.#scheduler.after(fault.backAfterMs, () => this.#hosts.start(fault.host))
        return
      case 'wallClockJumps':
        return this.#hosts.wallClockJumps(fault.host, fault.byMs)
      case 'twin':
        this.#hosts.startTwin(fault.host)
        if (fault.firstLosesSession) this.#cut(bothWays(fault.host, coordinatorHost), 2 * this.#sessionTtlMs)
        return this.#scheduler.after(fault.ms, () => this.#hosts.endTwin(fault.host))
      case 'cutClient':
        return this.#cut(
          [...this.#hosts.names, coordinatorHost].flatMap(host => bothWays(fault.client, host)),
          fault.ms,
        )
    }
  }

  #outage(ms: number): void {
    if (this.#coordinator.isDown) return
    this.#coordinator.goDown()
    this.#scheduler.after(ms, () => {
      if (this.#coordinator.isDown) this.#coordinator.comeBack(this.#sessionTtlMs)
    })
  }

  #crash(host: string, backAfterMs: number | undefined): void {
    if (!this.#hosts.isRunning(host)) return
    this.#hosts.crash(host)
    if (backAfterMs === undefined) return
    this.#scheduler.after(backAfterMs, () => this.#hosts.start(host))
  }

  #cut(pairs: readonly (readonly [string, string])[], ms: number, reset = false): void {
    for (const [from, to] of pairs) this.#network.cut(from, to)
    if (reset) {
      this.#counters.add('network.reset')
      for (const [a, b] of pairs) this.#hosts.reset(a, b)
    }
    const heal = (): void => {
      if (!this.#cuts.delete(heal)) return
      for (const [from, to] of pairs) this.#network.heal(from, to)
    }
    this.#cuts.add(heal)
    this.#scheduler.after(ms, heal)
  }
}

const bothWays = (a: string, b: string): (readonly [string, string])[] => [
  [a, b],
  [b, a],
]
