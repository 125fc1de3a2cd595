/**
 * The maps that one pipe has named, by the number it gave them. A slot is resolved by name each time the catalog has changed,
 * so a map that is destroyed and made anew under its name is a new map to every pipe.
 */
import { invalidArgument, type NearstateError } from '../base/errors.ts'
import { isSystemMap, keySpaceNameRefusal, mapNameRefusal, systemMapRefusal } from '../grid/map-definition.ts'
import { type KeyCodec, parseKeyCodec } from '../keys/key-codec.ts'
import type { MapDeclaration } from '../wire/generated/nearstate/v1/data.ts'
import { keySpaceRefusal, type MapCatalog, type MapHandle } from './map-catalog.ts'

/** Maps per pipe; a declaration beyond ends the stream. */
const slotsMax = 4096

const nothingDeclared = { name: '', keySpace: '', keyCodec: '' }

export class MapSlot {
  readonly name: string
  readonly keySpace: string
  readonly codecText: string
  /** As declared; without a declaration `string`, until the map is known. */
  codec: KeyCodec
  handle: MapHandle | undefined
  /** The map is there and this pipe may not use it so. */
  refusal: NearstateError | undefined
  /** The map could not be created: for the operations that waited, while they are answered. */
  ensureFailure: NearstateError | undefined
  #generation = 0

  /** The declaration itself is refused: every operation answers this. */
  readonly denied: NearstateError | undefined

  constructor(declaration: MapDeclaration, mayUseSystemMaps: boolean) {
    this.denied = declarationRefusal(declaration, mayUseSystemMaps)
    // What was refused may be of any length, and is not kept.
    const { name, keySpace, keyCodec } = this.denied === undefined ? declaration : nothingDeclared
    this.name = name
    this.keySpace = keySpace
    this.codecText = keyCodec
    this.codec = 'string'
    if (this.denied === undefined && this.codecText !== '') this.codec = parseKeyCodec(this.codecText)
  }

  get isSystem(): boolean {
    return isSystemMap(this.name)
  }

  resolve(catalog: MapCatalog): void {
    if (this.#generation === catalog.generation) return
    this.#generation = catalog.generation
    this.handle = catalog.find(this.name)
    this.refusal = this.handle === undefined ? undefined : keySpaceRefusal(this.handle, this.keySpace, this.codecText)
    if (this.handle !== undefined && this.codecText === '') this.codec = this.handle.definition.keyCodec
  }
}

export class MapSlots {
  readonly #mayUseSystemMaps: boolean
  readonly #slots: (MapSlot | undefined)[] = []

  constructor(mayUseSystemMaps: boolean) {
    this.#mayUseSystemMaps = mayUseSystemMaps
  }

  find(slot: number): MapSlot | undefined {
    return this.#slots[slot]
  }

  /** Nobody waits for a map any more: the next write asks anew. */
  forgetFailures(): void {
    for (const slot of this.#slots) if (slot !== undefined) slot.ensureFailure = undefined
  }

  /** Throws when the stream must end. */
  declare(declaration: MapDeclaration): void {
    const { slot, name } = declaration
    if (slot >= slotsMax) throw invalidArgument(`Cannot declare map slot ${slot}: slots are 0 to ${slotsMax - 1} on one stream`)
    if (this.#slots[slot] !== undefined) throw invalidArgument(`Cannot declare map slot ${slot} for "${name}": it is taken on this stream`)
    while (this.#slots.length < slot) this.#slots.push(undefined)
    this.#slots[slot] = new MapSlot(declaration, this.#mayUseSystemMaps)
  }
}

function declarationRefusal(declaration: MapDeclaration, mayUseSystemMaps: boolean): NearstateError | undefined {
  const { name, keySpace, keyCodec } = declaration
  const refusal = mapNameRefusal(name)
  if (refusal !== undefined) return refusal
  if (isSystemMap(name) && !mayUseSystemMaps) return systemMapRefusal(name)
  if ((keySpace === '') !== (keyCodec === ''))
    return invalidArgument(
      `Cannot use map "${name}": key space and codec come together, only ${keySpace === '' ? 'the codec' : 'the space'} came`,
    )
  if (keySpace === '') return undefined
  try {
    parseKeyCodec(keyCodec)
  } catch (error) {
    return error as NearstateError
  }
  return keySpaceNameRefusal(name, keySpace)
}
