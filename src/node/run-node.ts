/**
 * One node in this process, from a parsed configuration to a member that serves, and the way down.
 *
 * Owns: the order of start and stop. Start: coordinator, shards and the parts around them, ports, membership, functions.
 * Stop: partitions are handed over while the shards serve; shards answer what is under way and take nothing new; the node leaves the
 * cluster; ports close; the connection to the coordinator closes last. A failure that cannot be mended goes down without handing over, once.
 */
import { messageOf, NearstateError } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
import { randomId, systemRandom } from '../base/random.ts'
import type { Config } from '../config/config.ts'
import type { Coordinator } from '../membership/coordinator-port.ts'
import { createLogger, type Logger } from '../telemetry/logger.ts'
import { createParts, type NodeParts } from './node-parts.ts'
import { untilRestored } from './until-restored.ts'
import { startServers } from './node-servers.ts'
import { openCoordinator } from './open-coordinator.ts'
import { release } from './release.ts'
import { StopStack } from './stop-stack.ts'

export interface RunNodeOptions {
  /** Default: the one that the configuration names. One that is given is not closed with the node. */
  readonly coordinator?: Coordinator
  readonly log?: Logger
  /** Control and HTTP ports listen; the node asks to join. */
  readonly onListening?: (address: string, http: string) => void
}

export interface RunningNode {
  readonly name: string
  /** Incarnation. */
  readonly id: string
  /** host:port of control and admin: an endpoint for clients. */
  readonly address: string
  /** host:port of health and metrics. */
  readonly http: string
  /** Resolves when the cluster has formed and this node serves its part of it. */
  readonly ready: Promise<void>
  /** Resolves when the node had to stop by itself (a shard died, the cluster declared it dead), and has stopped. */
  readonly failed: Promise<Error>
  /** Resolves when somebody asked this node to leave the cluster, and it has left and stopped. */
  readonly left: Promise<void>
  /**
   * Hands over what it holds (for at most `leaveTimeout`), answers what is under way, leaves the cluster, ends everything.
   * `quietly`: the whole cluster stops, so nothing is handed over and nothing is told.
   */
  stop(options?: { readonly quietly?: boolean }): Promise<void>
}

/** Resolves when the node has joined. What was started is stopped again when it cannot. */
export async function runNode(config: Config, options: RunNodeOptions = {}): Promise<RunningNode> {
  const node = new NodeLifecycle(config, options)
  try {
    return await node.start()
  } catch (error) {
    await node.end()
    throw error
  }
}

class NodeLifecycle {
  readonly #config: Config
  readonly #options: RunNodeOptions
  readonly #log: Logger
  readonly #id = randomId(systemRandom) as NodeId
  readonly #startedAtMs = Date.now()
  readonly #stops = new StopStack()
  readonly #failed = Promise.withResolvers<Error>()
  readonly #left = Promise.withResolvers<void>()
  #phase: 'joining' | 'forming' | 'restoring' | 'loading' | 'serving' | 'stopping' = 'joining'
  #cause: 'quiet' | 'left' | 'failure' = 'left'

  constructor(config: Config, options: RunNodeOptions) {
    this.#config = config
    this.#options = options
    this.#log = options.log ?? createLogger({ level: config.logLevel, fields: { node: config.name } })
  }

  async start(): Promise<RunningNode> {
    const { name } = this.#config
    const coordinator = this.#options.coordinator ?? (await this.#openCoordinator())
    const parts = await createParts({
      id: this.#id,
      config: this.#config,
      coordinator,
      fail: error => this.#fail(error),
      leave: () => this.#leave(),
      stops: this.#stops,
      log: this.#log,
    })
    const { address, http } = await startServers({
      id: this.#id,
      config: this.#config,
      coordinator: coordinator.description,
      parts,
      notReadyBecause: () => this.#notReadyBecause(),
      stops: this.#stops,
    })
    this.#options.onListening?.(address, http)
    this.#stopFirst(parts)
    await this.#join(parts, address, http)
    const ready = this.#becomeReady(parts, address, http)
    ready.catch(() => {}) // for those who do not wait for it
    return {
      name,
      id: this.#id,
      address,
      http,
      ready,
      failed: this.#failed.promise,
      left: this.#left.promise,
      stop: options => this.#stop(options?.quietly === true),
    }
  }

  end(): Promise<void> {
    this.#phase = 'stopping'
    return this.#stops.run(error => this.#log.warn('a part of the node did not stop in order', { reason: messageOf(error) }))
  }

  async #openCoordinator(): Promise<Coordinator> {
    const coordinator = await openCoordinator(this.#config, this.#log)
    this.#stops.push(() => coordinator.close())
    return coordinator
  }

  /** Before the ports close. */
  #stopFirst({ feed, jobs, shards, driver }: NodeParts): void {
    this.#stops.push(() => feed.stop())
    // What a failed node leads passes on at once.
    this.#stops.push(() => (this.#cause === 'failure' ? undefined : driver.stop(this.#cause)))
    this.#stops.push(() => shards.stop(this.#cause === 'failure' ? 0 : this.#config.shutdownGraceMs))
    this.#stops.push(() => (this.#cause === 'failure' ? driver.stop('failure') : undefined))
    this.#stops.push(() => jobs.close())
    this.#stops.push(() => (this.#cause === 'left' ? driver.leave() : undefined))
  }

  async #join({ driver, shards, jobs }: NodeParts, address: string, http: string): Promise<void> {
    const { name, zone } = this.#config
    await driver.join({
      name,
      id: this.#id,
      pid: process.pid,
      status: 'alive',
      zone,
      version: release,
      address,
      http,
      shards: shards.records,
      startedAtMs: this.#startedAtMs,
    })
    jobs.onView(driver.leads)
    this.#enter('forming')
  }

  async #becomeReady({ feed, functions }: NodeParts, address: string, http: string): Promise<void> {
    while ((feed.view?.state.partitions.length ?? 0) === 0 && !feed.stopped) await feed.next()
    if (this.#config.persistenceDir !== '') {
      this.#enter('restoring')
      await untilRestored(feed, this.#log)
    }
    this.#enter('loading')
    await functions.loadAll()
    this.#enter('serving')
    this.#log.info('serving', { address, http, shards: this.#config.shards })
  }

  #enter(phase: 'forming' | 'restoring' | 'loading' | 'serving'): void {
    if (this.#phase === 'stopping') throw new NearstateError('CANCELLED', `node "${this.#config.name}" was stopped before it served`)
    this.#phase = phase
  }

  #notReadyBecause(): string | undefined {
    switch (this.#phase) {
      case 'joining':
        return 'joining the cluster'
      case 'forming':
        return `waiting until ${this.#config.expectedNodes} nodes have joined`
      case 'restoring':
        return 'waiting for the durable mirrors of other nodes'
      case 'loading':
        return 'loading functions'
      case 'serving':
        return undefined
      case 'stopping':
        return 'stopping'
    }
  }

  async #stop(quietly: boolean): Promise<void> {
    if (quietly) this.#cause = 'quiet'
    await this.end()
  }

  #fail(error: Error): void {
    if (this.#phase === 'stopping') return
    this.#cause = 'failure'
    this.#log.error('this node stops', { reason: error.message })
    void this.end().then(() => this.#failed.resolve(error))
  }

  #leave(): void {
    if (this.#phase === 'stopping') return
    this.#log.info('this node was asked to leave the cluster')
    void this.end().then(() => this.#left.resolve())
  }
}
