/**
 * An entry processor's call on one entry: read, run the function, keep what it wants aside, store it afterwards.
 *
 *   prepare -> run (user code; may be cut off anywhere) -> apply (core state changes)
 *
 * 1. `run` changes nothing but this object: it reads by `peek`, and bytes it keeps are copies.
 * 2. Nothing runs between `run` and `apply`, so the entry is still what the function saw.
 * 3. A result above the limit of values is refused before anything is stored.
 * 4. The entry object is dead after `run`: a function that kept it gets an error, not another caller's entry.
 */
import { unreachable } from '../base/assert.ts'
import { parseDuration } from '../base/duration.ts'
import { invalidArgument, type NearstateError } from '../base/errors.ts'
import type { Entry } from '../keys/function-types.ts'
import { durationRefusal, Outcome, type PartitionMap, unchanged } from './partition-map.ts'

export interface ValueCodec {
  /** Bytes of their own; throws INVALID_ARGUMENT for what cannot be stored. */
  encode(value: unknown): Uint8Array
  /** A value that shares nothing with the bytes. */
  decode(bytes: Uint8Array, start: number, end: number): unknown
}

export type EntryProcessor = (entry: Entry<unknown, unknown>, args: unknown) => unknown

type Change =
  | { readonly kind: 'none' }
  | { readonly kind: 'set'; readonly value: Uint8Array; readonly ttlMs: number }
  | { readonly kind: 'delete' }

const noChange: Change = { kind: 'none' }

export class EntryCall {
  readonly #map: PartitionMap
  readonly #key: Uint8Array
  readonly #codec: ValueCodec
  #change: Change = noChange
  /** The function's encoded result, once `run` has returned. */
  result: Uint8Array | undefined

  /** `key` must stay as it is until `apply`. */
  constructor(map: PartitionMap, key: Uint8Array, codec: ValueCodec) {
    this.#map = map
    this.#key = key
    this.#codec = codec
  }

  /** Runs the function; throws what it throws, and INVALID_ARGUMENT for a value or result that cannot be encoded or is too large. */
  run(processor: EntryProcessor, decodedKey: unknown, args: unknown, wallTimeMs: number): void {
    const view = this.#open(decodedKey, wallTimeMs)
    let result: Uint8Array
    try {
      result = this.#codec.encode(processor(view, args))
    } finally {
      view.close()
    }
    const { valueMaxBytes } = this.#map
    if (result.length > valueMaxBytes) throw invalidArgument(`its result is ${result.length} bytes, limit is ${valueMaxBytes}`)
    this.result = result
    this.#change = view.change
  }

  /** Stores what the function wanted; the refusal if that cannot be. */
  apply(wallTimeMs: number): NearstateError | undefined {
    const key = this.#key
    const change = this.#change
    this.#change = noChange
    switch (change.kind) {
      case 'none':
        this.#map.find(key, 0, key.length, wallTimeMs) // counts as an access, and removes an entry past its time
        return undefined
      case 'delete':
        this.#map.delete(key, 0, key.length, wallTimeMs)
        return undefined
      case 'set': {
        const { value, ttlMs } = change
        const outcome = this.#map.update(key, 0, key.length, value, 0, value.length, ttlMs, wallTimeMs)
        return outcome === Outcome.refused ? this.#map.refusal : undefined
      }
      default:
        return unreachable(change)
    }
  }

  #open(decodedKey: unknown, wallTimeMs: number): OpenEntry {
    const key = this.#key
    if (!this.#map.peek(key, 0, key.length, wallTimeMs)) return new OpenEntry(decodedKey, 0, undefined, this.#codec)
    const { segment, valueStart, valueEnd, version } = this.#map.found
    return new OpenEntry(decodedKey, version, segment.slice(valueStart, valueEnd), this.#codec)
  }
}

class OpenEntry implements Entry<unknown, unknown> {
  readonly key: unknown
  readonly version: number
  readonly #codec: ValueCodec
  #stored: Uint8Array | undefined
  #value: unknown
  #decoded = false
  #open = true
  change: Change = noChange

  constructor(key: unknown, version: number, stored: Uint8Array | undefined, codec: ValueCodec) {
    this.key = key
    this.version = version
    this.#stored = stored
    this.#codec = codec
  }

  /** The same object each time, until a `set` or `delete`. */
  get(): unknown {
    this.#checkOpen()
    if (!this.#decoded) {
      const bytes = this.#stored
      this.#value = bytes === undefined ? undefined : this.#codec.decode(bytes, 0, bytes.length)
      this.#decoded = true
    }
    return this.#value
  }

  set(value: unknown, options?: { readonly ttl?: unknown }): void {
    this.#checkOpen()
    const bytes = this.#codec.encode(value)
    this.change = { kind: 'set', value: bytes, ttlMs: ttlOf(options?.ttl) }
    this.#replaceStored(bytes)
  }

  delete(): void {
    this.#checkOpen()
    this.change = { kind: 'delete' }
    this.#replaceStored(undefined)
  }

  close(): void {
    this.#open = false
  }

  #replaceStored(bytes: Uint8Array | undefined): void {
    this.#stored = bytes
    this.#value = undefined
    this.#decoded = false
  }

  #checkOpen(): void {
    if (!this.#open) throw invalidArgument('Cannot use the entry: its function has returned')
  }
}

function ttlOf(ttl: unknown): number {
  if (ttl === undefined) return unchanged
  if (typeof ttl !== 'string') throw invalidArgument(`Cannot set entry: ttl is a ${typeof ttl}, a duration such as "30d" is wanted`)
  const ms = parseDuration(ttl, 'ttl')
  const refusal = durationRefusal('ttl', ms)
  if (refusal !== undefined) throw refusal
  return ms
}
