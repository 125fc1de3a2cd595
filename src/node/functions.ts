/**
 * Deployed functions: the record of each file in the coordinator says which bundle counts; every node loads what the records say.
 *
 * Owns: the records, and which bundle of each file this node's shards have. Does not: evaluate code (shard/user-code).
 * 1. Deploys go through the leader, one after another.
 * 2. A deploy that is refused changes nothing: one shard of the leader tries the bundle before the record changes.
 * 3. A node that could not load a record tries again until it can or the record changes.
 */
import { messageOf } from '../base/errors.ts'
import { coordinatorKeys } from '../membership/cluster-state.ts'
import type { Coordinator } from '../membership/coordinator-port.ts'
import type { Bundle } from '../shard/protocol.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { BundleStore } from './bundle-store.ts'
import { bundleOf } from './bundle-store.ts'
import type { Shards } from './shards.ts'
import { decodeJson, updateJson, WatchedTable } from './watched-table.ts'

interface FunctionsRecord {
  readonly hash: string
  readonly names: readonly string[]
  readonly deployedAtMs: number
}

export interface FunctionsOptions {
  readonly coordinator: Coordinator
  readonly shards: Shards
  readonly bundles: BundleStore
  readonly wallTimeMs: () => number
  /** A running job uses this bundle. */
  readonly isUsedByJob: (hash: string) => Promise<boolean>
  readonly log: Logger
}

const retryMs = 1000
/** A deploy's own order to load usually comes first; what it did not reach is loaded when the record has been seen for so long. */
const settleMs = 500

export class Functions {
  readonly #options: FunctionsOptions
  readonly #records: WatchedTable<FunctionsRecord>
  /** File -> hash that all shards of this node have. */
  readonly #loaded = new Map<string, string>()
  /** Loads and deploys of this node, one after another. */
  #turn: Promise<unknown> = Promise.resolve()
  #retryTimer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: FunctionsOptions) {
    this.#options = options
    this.#records = new WatchedTable(options.coordinator, coordinatorKeys.functionsPrefix, () => this.#loadSoon(settleMs))
  }

  /** Loads what is deployed. Resolves after one try of each; what failed is tried again later. */
  async loadAll(): Promise<void> {
    await this.#records.caughtUp
    await this.#inTurn(() => this.#loadMissing())
  }

  /** Loads one bundle on every shard of this node; answers the names. */
  load(file: string, hash: string): Promise<readonly string[]> {
    return this.#inTurn(() => this.#load(file, hash))
  }

  /** On the leader: checks and records a bundle, then has it loaded on every live node. */
  async deploy(
    file: string,
    code: Uint8Array,
    sourceMap: Uint8Array,
    loadOnAll: (hash: string) => Promise<void>,
  ): Promise<{ hash: string; names: readonly string[] }> {
    const bundle = bundleOf(code, sourceMap)
    const names = await this.#inTurn(() => this.#tryAndRecord(file, bundle))
    await loadOnAll(bundle.hash)
    return { hash: bundle.hash, names }
  }

  /** Writes the bundles in use again where the grid has lost parts of them. */
  async restoreBundles(): Promise<void> {
    for (const record of this.#records.values()) await this.#options.bundles.restore(record.hash)
  }

  /** A record names this bundle. */
  async isDeployed(hash: string): Promise<boolean> {
    const records = await this.#options.coordinator.list(coordinatorKeys.functionsPrefix)
    return records.some(record => decodeJson<FunctionsRecord>(record.value).hash === hash)
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#retryTimer)
    this.#records.stop()
  }

  async #tryAndRecord(file: string, bundle: Bundle): Promise<readonly string[]> {
    const { shards, bundles, coordinator, wallTimeMs } = this.#options
    const { names } = await shards.any.request({ kind: 'loadFunctions', file, bundle })
    let replaced: string | undefined
    try {
      await bundles.inTurn(async () => {
        await bundles.put(bundle)
        await updateJson<FunctionsRecord>(coordinator, coordinatorKeys.functions(file), current => {
          replaced = current?.hash
          return { hash: bundle.hash, names, deployedAtMs: wallTimeMs() }
        })
      })
    } catch (error) {
      this.#loaded.delete(file) // one shard has the new one: load the recorded one again
      this.#loadSoon(0)
      throw error
    }
    if (replaced !== undefined && replaced !== bundle.hash) await this.#removeUnused(replaced)
    return names
  }

  async #removeUnused(hash: string): Promise<void> {
    await this.#options.bundles
      .removeUnless(hash, async () => (await this.isDeployed(hash)) || (await this.#options.isUsedByJob(hash)))
      .catch(error => this.#options.log.warn('an old bundle could not be removed', { hash, reason: messageOf(error) }))
  }

  async #load(file: string, hash: string): Promise<readonly string[]> {
    const bundle = await this.#options.bundles.load(hash)
    const answers = await this.#options.shards.requestAll({ kind: 'loadFunctions', file, bundle })
    this.#loaded.set(file, hash)
    return answers[0]?.names ?? []
  }

  async #loadMissing(): Promise<void> {
    for (const [file, record] of this.#records.entries()) {
      if (this.#stopped || this.#loaded.get(file) === record.hash) continue
      await this.#load(file, record.hash).catch(error => {
        this.#options.log.warn('deployed functions are not loaded; trying again', { file, reason: messageOf(error) })
        this.#loadSoon(retryMs)
      })
    }
  }

  #loadSoon(delayMs: number): void {
    if (this.#stopped) return
    clearTimeout(this.#retryTimer)
    this.#retryTimer = setTimeout(() => void this.#inTurn(() => this.#loadMissing()), delayMs)
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {}) // its caller sees the failure
    return result
  }
}
