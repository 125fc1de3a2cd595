/**
 * The maps this shard knows, by name; and the maps it has asked the control thread for.
 *
 * Owns: handles (a definition with its part on each served partition), the asks under way, the generation that tells pipes
 * to resolve a name anew. Does not: create stores, decide who may write where.
 *
 * 1. A name is resolved again whenever `generation` has changed; nobody holds a handle longer.
 * 2. Per name at most one ask is under way, whoever waits for it; waiters are bounded by admission control, since each is an
 *    admitted operation or a job.
 * 3. A list is the whole truth, and a later word on one name the truth about that: what is left out is destroyed here. The control
 *    thread sees to it that it never denies a map that it has answered before (node/map-registry.ts).
 */
import { NearstateError } from '../base/errors.ts'
import type { MapId } from '../base/ids.ts'
import type { MapDefinition } from '../grid/map-definition.ts'
import type { PartitionMap } from '../grid/partition-map.ts'
import { formatKeyCodec } from '../keys/key-codec.ts'
import type { KeyCodec } from '../keys/key-codec.ts'
import type { EnsureMap } from './protocol.ts'

export class MapHandle {
  readonly definition: MapDefinition
  readonly codecText: string
  /** By partition, opened when they are first used; undefined: nothing of this map is known to be there. */
  readonly parts: (PartitionMap | undefined)[] = []

  constructor(definition: MapDefinition) {
    this.definition = definition
    this.codecText = formatKeyCodec(definition.keyCodec)
  }
}

interface Ask {
  readonly name: string
  readonly waiters: ((error: NearstateError | undefined) => void)[]
}

export interface MapCatalogOptions {
  readonly autoCreateMaps: boolean
  sendAsk(id: number, ask: EnsureMap): void
  /** The map is gone or replaced: its data must go. */
  onDropped(handle: MapHandle): void
}

export class MapCatalog {
  readonly #options: MapCatalogOptions
  readonly #handles = new Map<string, MapHandle>()
  readonly #ids = new Set<MapId>()
  readonly #asks = new Map<number, Ask>()
  readonly #askOf = new Map<string, Ask>()
  #nextAsk = 1
  generation = 1

  constructor(options: MapCatalogOptions) {
    this.#options = options
  }

  find(name: string): MapHandle | undefined {
    return this.#handles.get(name)
  }

  knows(id: MapId): boolean {
    return this.#ids.has(id)
  }

  handles(): IterableIterator<MapHandle> {
    return this.#handles.values()
  }

  /**
   * Asks for a map that is not there; `waiter` hears when it is, or why not. Answers a refusal at once when maps are not
   * created by themselves (the system's own always are).
   */
  ensure(ask: EnsureMap, system: boolean, waiter: (error: NearstateError | undefined) => void): NearstateError | undefined {
    if (!this.#options.autoCreateMaps && !system) {
      return new NearstateError(
        'NOT_FOUND',
        `Cannot write to map "${ask.name}": there is no such map and autoCreateMaps is off; create it first`,
      )
    }
    const underWay = this.#askOf.get(ask.name)
    if (underWay !== undefined) {
      underWay.waiters.push(waiter)
      return undefined
    }
    const id = this.#nextAsk
    this.#nextAsk += 1
    const started = { name: ask.name, waiters: [waiter] }
    this.#asks.set(id, started)
    this.#askOf.set(ask.name, started)
    this.#options.sendAsk(id, ask)
    return undefined
  }

  /** The control thread's answer to an ask. */
  answer(id: number, definition: MapDefinition | undefined, error: NearstateError | undefined): void {
    const ask = this.#asks.get(id)
    if (ask === undefined) return
    this.#asks.delete(id)
    this.#askOf.delete(ask.name)
    if (definition !== undefined) this.#put(definition)
    const failure =
      definition === undefined ? (error ?? new NearstateError('INTERNAL', `Cannot create map "${ask.name}": no answer`)) : undefined
    for (const waiter of ask.waiters) waiter(failure)
  }

  /** The whole list of maps as the coordinator has it. */
  replaceAll(definitions: readonly MapDefinition[]): void {
    const named = new Set(definitions.map(({ name }) => name))
    for (const handle of this.#handles.values()) if (!named.has(handle.definition.name)) this.#drop(handle)
    for (const definition of definitions) this.#put(definition)
  }

  /** What is under one name now; undefined: nothing. */
  replace(name: string, definition: MapDefinition | undefined): void {
    const known = this.#handles.get(name)
    if (definition !== undefined) this.#put(definition)
    else if (known !== undefined) this.#drop(known)
  }

  #put(definition: MapDefinition): void {
    const known = this.#handles.get(definition.name)
    if (known?.definition.id === definition.id) return
    if (known !== undefined) this.#drop(known)
    this.#handles.set(definition.name, new MapHandle(definition))
    this.#ids.add(definition.id)
    this.generation += 1
  }

  #drop(handle: MapHandle): void {
    this.#handles.delete(handle.definition.name)
    this.#ids.delete(handle.definition.id)
    this.generation += 1
    this.#options.onDropped(handle)
  }
}

/** Why an operation that brought this key space cannot use the map; undefined: it can. An empty space accepts the map's own. */
export function keySpaceRefusal(handle: MapHandle, keySpace: string, codecText: string): NearstateError | undefined {
  if (keySpace === '' && codecText === '') return undefined
  const { definition } = handle
  if (definition.keySpace === keySpace && handle.codecText === codecText) return undefined
  return new NearstateError(
    'INVALID_ARGUMENT',
    `Cannot use map "${definition.name}" with key space "${keySpace}" (${codecText}): its keys are "${definition.keySpace}" (${handle.codecText}); use that key space, or a map of another name`,
  )
}

/** As the caller declared it; a map that nobody declared has string keys named after it. */
export function askFor(name: string, keySpace: string, keyCodec: KeyCodec | undefined): EnsureMap {
  return keyCodec === undefined ? { name, keySpace: name, keyCodec: 'string' } : { name, keySpace, keyCodec }
}
