/**
 * Which maps there are: definitions in the coordinator, one value per map, and this node's copy of them for its shards.
 *
 * Owns: creation and removal of definitions. Does not: entries (shards).
 * Invariants: an id is never used again, also not for a map of the same name (a counter in the coordinator only grows; an id
 * taken for a creation that failed is lost). A name has one definition; who creates it twice with the same definition gets it.
 */
import { NearstateError, invalidArgument } from '../base/errors.ts'
import type { MapId } from '../base/ids.ts'
import { isSystemMap, keySpaceNameRefusal, type MapDefinition, mapNameRefusal, systemMapRefusal } from '../grid/map-definition.ts'
import { encodeKey } from '../keys/encode-key.ts'
import { formatKeyCodec, type KeyCodec, type Scalar, type ScalarCodec } from '../keys/key-codec.ts'
import { coordinatorKeys } from '../membership/cluster-state.ts'
import type { Coordinator } from '../membership/coordinator-port.ts'
import type { EnsureMap } from '../shard/protocol.ts'
import { entrySize, flagsFor } from '../storage/entry-layout.ts'
import type { Eviction } from '../storage/map-limits.ts'
import { decodeJson, encodeJson, updateJson, WatchedTable } from './watched-table.ts'

const evictions: readonly string[] = ['none', 'lru', 'lfu'] satisfies Eviction[]

/** What a creator says of a map. */
export type MapSettings = Omit<MapDefinition, 'id' | 'createdAtMs'>

export interface MapRegistryOptions {
  readonly coordinator: Coordinator
  readonly partitionCount: number
  readonly wallTimeMs: () => number
  /** What is under this name now, in the copy; undefined: nothing, or what was dropped. One name at a time: a list for each of many creations would be a copy of all for each. */
  readonly onChange: (name: string, definition: MapDefinition | undefined) => void
}

export class MapRegistry {
  readonly #options: MapRegistryOptions
  readonly #table: WatchedTable<MapDefinition>
  /** Dropped here by order, until the watch has told the same: name -> id. */
  readonly #dropped = new Map<string, MapId>()
  /** Answered to a shard before the watch has told of them: from then on they are there, else the shard would drop them. */
  readonly #answered = new Map<string, MapDefinition>()

  constructor(options: MapRegistryOptions) {
    this.#options = options
    this.#table = new WatchedTable(options.coordinator, coordinatorKeys.mapPrefix, name => this.#changed(name))
  }

  get caughtUp(): Promise<void> {
    return this.#table.caughtUp
  }

  get definitions(): readonly MapDefinition[] {
    const names = new Set([...[...this.#table.values()].map(({ name }) => name), ...this.#answered.keys()])
    return [...names].map(name => this.find(name)).filter(definition => definition !== undefined)
  }

  /** Definitions as the coordinator has them now, ordered by name, without the system's own. */
  async list(): Promise<readonly MapDefinition[]> {
    const values = await this.#options.coordinator.list(coordinatorKeys.mapPrefix)
    return values
      .map(value => decodeJson<MapDefinition>(value.value))
      .filter(definition => !isSystemMap(definition.name))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Creates a map; the same definition again answers the one that is there, another one is ALREADY_EXISTS. */
  async create(settings: MapSettings): Promise<MapDefinition> {
    checkSettings(settings)
    checkMaxBytes(settings, this.#options.partitionCount)
    const definition = await this.#createOrRead(settings)
    const difference = differenceOf(settings, definition)
    if (difference !== undefined) {
      throw new NearstateError('ALREADY_EXISTS', `Cannot create map "${settings.name}": it exists with ${difference}; destroy it first`)
    }
    return definition
  }

  /** The map that a write needs, created with defaults if it is not there. System maps may be ensured by the shards only. */
  async ensure(ask: EnsureMap): Promise<MapDefinition> {
    const known = this.#table.get(ask.name)
    const settings = { ...ask, ttlMs: 0, maxIdleMs: 0, maxBytes: 0, eviction: 'none' as const }
    if (!isSystemMap(ask.name)) checkSettings(settings)
    const definition = known !== undefined && !this.#isDropped(known) ? known : await this.#createOrRead(settings)
    if (definition.keySpace !== ask.keySpace || formatKeyCodec(definition.keyCodec) !== formatKeyCodec(ask.keyCodec)) {
      throw invalidArgument(
        `Cannot open map "${ask.name}" with key space "${ask.keySpace}" (${formatKeyCodec(ask.keyCodec)}): its key space is "${definition.keySpace}" (${formatKeyCodec(definition.keyCodec)}); use that one, or a map of another name`,
      )
    }
    if (this.#table.get(ask.name)?.id !== definition.id) this.#answered.set(ask.name, definition)
    return definition
  }

  /** Removes the definition and answers it. Entries go when the shards learn of it: see drop. */
  async remove(name: string): Promise<MapDefinition> {
    checkName(name)
    for (;;) {
      const stored = await this.#options.coordinator.read(coordinatorKeys.map(name))
      if (stored === undefined) throw new NearstateError('NOT_FOUND', `Cannot destroy map "${name}": there is no such map`)
      const outcome = await this.#options.coordinator.compareAndSet(coordinatorKeys.map(name), stored.version, undefined)
      if (outcome.kind === 'done') return decodeJson<MapDefinition>(stored.value)
    }
  }

  /** Takes a removed map out of this node's copy at once, without waiting for the watch. */
  drop(name: string, id: MapId): void {
    if (this.#answered.get(name)?.id === id) this.#answered.delete(name)
    // Otherwise the watch has told of the end already.
    if (this.#table.get(name)?.id === id) this.#dropped.set(name, id)
    this.#options.onChange(name, this.find(name))
  }

  stop(): void {
    this.#table.stop()
  }

  #changed(name: string): void {
    if ((this.#table.get(name)?.id ?? 0) >= (this.#answered.get(name)?.id ?? 0)) this.#answered.delete(name)
    const dropped = this.#dropped.get(name)
    if (dropped !== undefined && this.#table.get(name)?.id !== dropped) this.#dropped.delete(name)
    this.#options.onChange(name, this.find(name))
  }

  /** The latest definition that this node knows of, unless it was dropped. */
  find(name: string): MapDefinition | undefined {
    const watched = this.#table.get(name)
    const answered = this.#answered.get(name)
    const latest = (watched?.id ?? 0) < (answered?.id ?? 0) ? answered : watched
    return latest === undefined || this.#isDropped(latest) ? undefined : latest
  }

  #isDropped(definition: MapDefinition): boolean {
    return this.#dropped.get(definition.name) === definition.id
  }

  async #createOrRead(settings: MapSettings): Promise<MapDefinition> {
    const { coordinator, wallTimeMs } = this.#options
    const key = coordinatorKeys.map(settings.name)
    for (;;) {
      const stored = await coordinator.read(key)
      if (stored !== undefined) return decodeJson<MapDefinition>(stored.value)
      const id = await this.#nextId()
      const definition: MapDefinition = { ...settings, id, createdAtMs: wallTimeMs() }
      const outcome = await coordinator.compareAndSet(key, 0, encodeJson(definition))
      if (outcome.kind === 'done') return definition
    }
  }

  async #nextId(): Promise<MapId> {
    const id = await updateJson<number>(this.#options.coordinator, coordinatorKeys.mapIdCounter, last => (last ?? 0) + 1)
    return id as MapId
  }
}

function checkName(name: string): void {
  const refusal = mapNameRefusal(name) ?? (isSystemMap(name) ? systemMapRefusal(name) : undefined)
  if (refusal !== undefined) throw refusal
}

export function checkSettings(settings: MapSettings): void {
  checkName(settings.name)
  const refusal = keySpaceNameRefusal(settings.name, settings.keySpace)
  if (refusal !== undefined) throw refusal
  if (!evictions.includes(settings.eviction)) {
    throw invalidArgument(
      `Cannot create map "${settings.name}": eviction is "${settings.eviction}", one of ${evictions.join(', ')} is wanted`,
    )
  }
  for (const field of ['ttlMs', 'maxIdleMs', 'maxBytes'] as const) {
    if (!Number.isSafeInteger(settings[field]) || settings[field] < 0) {
      throw invalidArgument(`Cannot create map "${settings.name}": ${field} is ${settings[field]}, a whole number from 0 is wanted`)
    }
  }
  if (settings.eviction !== 'none' && settings.maxBytes === 0) {
    throw invalidArgument(`Cannot create map "${settings.name}": eviction "${settings.eviction}" needs maxBytes above 0`)
  }
}

/** Each partition has an equal share; one that could not hold a single entry would refuse every write. */
function checkMaxBytes({ name, keyCodec, ttlMs, maxIdleMs, maxBytes, eviction }: MapSettings, partitionCount: number): void {
  const flags = flagsFor(ttlMs > 0, maxIdleMs > 0, eviction !== 'none')
  const leastBytes = partitionCount * entrySize(flags, encodeKey(keyCodec, shortKey(keyCodec)).length, 1)
  if (maxBytes === 0 || maxBytes >= leastBytes) return
  throw invalidArgument(
    `Cannot create map "${name}": maxBytes is ${maxBytes}, and each of ${partitionCount} partitions gets an equal share, too small for any entry; the least that holds one in each is ${leastBytes}, and 0 means no limit`,
  )
}

const shortScalars: Readonly<Record<ScalarCodec, Scalar>> = { string: 'a', int64: 0, bytes: new Uint8Array(1) }

function shortKey(codec: KeyCodec): unknown {
  if (typeof codec === 'string') return shortScalars[codec]
  const [, ...elements] = codec
  return elements.map(shortKey)
}

function differenceOf(wanted: MapSettings, there: MapDefinition): string | undefined {
  for (const field of ['keySpace', 'ttlMs', 'maxIdleMs', 'maxBytes', 'eviction'] as const) {
    if (wanted[field] !== there[field]) return `${field} ${there[field]}, not ${wanted[field]}`
  }
  const codec = formatKeyCodec(there.keyCodec)
  return codec === formatKeyCodec(wanted.keyCodec) ? undefined : `key codec ${codec}, not ${formatKeyCodec(wanted.keyCodec)}`
}
