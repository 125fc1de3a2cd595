/**
 * Effects and pieces of images as bytes, between replicas of a partition.
 *
 * Each begins with a head byte: its number below in the lower 4 bits, flags in the upper 4. `n` is a varint, `f` a float64 (milliseconds
 * of wall time where it is a moment), bytes come after their length. What a flag says is left out takes no room.
 *
 *   1 put           flags: 1 has expiry, 2 has max idle, 4 moment as that of the effect before
 *                   map n, key length n, value length n, [moment f], [expires at f], [max idle f], key, value
 *   2 remove        flags: reason 0 deleted, 1 expired, 2 evicted;  map n, key
 *   3 expire        flags as for put;  map n, key length n, [moment f], [expires at f], [max idle f], key
 *   4 openMap       flags: eviction 0 none, 1 lru, 2 lfu;  map n, max bytes f
 *   5 clear         map n                            6 dropMap        map n
 *   7 putRecord     space n, key, value              8 removeRecord   space n, key
 *   9 openSession   epoch n
 *  10 recordResult  flags: 1 ticket as that of the effect before with one, 2 number is one above that one's
 *                   [epoch n, position n], [number n], trim to n, result
 *  11 closeSession  epoch n, position n             12 mark
 *  13 restore       (images) version n, and then as for put
 *  14 session       (images) epoch n, position n, trimmed to n, count n, and per result: number n, position n, result
 *
 * Numbers are never given anew: replicas of two versions read each other.
 */
import { unreachable } from '../base/assert.ts'
import { invalidArgument } from '../base/errors.ts'
import type { MapId } from '../base/ids.ts'
import type { Effect, ExpireEffect, PutEffect, RemoveReason } from '../storage/effect.ts'
import type { ImageChunk } from '../storage/image.ts'
import type { Eviction } from '../storage/map-limits.ts'
import type { RecordedResult } from '../storage/session-table.ts'
import { ByteReader } from './byte-reader.ts'
import type { ByteWriter } from './byte-writer.ts'
import { copyInto } from '../base/copy-into.ts'

type ImageEffect = ImageChunk['effects'][number]

const reasons: readonly RemoveReason[] = ['deleted', 'expired', 'evicted']
const evictions: readonly Eviction[] = ['none', 'lru', 'lfu']
const hasExpiry = 1
const hasMaxIdle = 2
const sameMoment = 4
const sameTicket = 1
const nextNumber = 2

/** What an effect may leave out because the one before said it. One for all effects of a message, on both sides. */
class Before {
  wallTimeMs = Number.NaN
  ticketEpoch = -1
  ticketPosition = -1
  number = -1

  forget(): void {
    this.wallTimeMs = Number.NaN
    this.ticketEpoch = -1
    this.ticketPosition = -1
    this.number = -1
  }
}

export class EffectEncoder {
  readonly #writer: ByteWriter
  readonly #before = new Before()

  constructor(writer: ByteWriter) {
    this.#writer = writer
  }

  /** Before the effects of a message. */
  begin(): void {
    this.#before.forget()
  }

  write(effect: Effect | ImageEffect): void {
    const writer = this.#writer
    switch (effect.kind) {
      case 'put':
        return this.#put(effect)
      case 'recordResult': {
        const { ticketEpoch, ticketPosition, number, result } = effect
        const before = this.#before
        const isSame = before.ticketPosition === ticketPosition && before.ticketEpoch === ticketEpoch
        const isNext = number === before.number + 1
        writer.byte(10 | ((isSame ? sameTicket : 0) << 4) | ((isNext ? nextNumber : 0) << 4))
        if (!isSame) {
          writer.integer(ticketEpoch)
          writer.integer(ticketPosition)
        }
        if (!isNext) writer.integer(number)
        writer.integer(effect.trimTo)
        this.#bytes(result, 0, result.length)
        before.ticketEpoch = ticketEpoch
        before.ticketPosition = ticketPosition
        before.number = number
        return
      }
      case 'remove':
        writer.byte(2 | (reasons.indexOf(effect.reason) << 4))
        writer.integer(effect.map)
        return this.#bytes(effect.key, effect.keyStart, effect.keyEnd)
      case 'expire': {
        writer.byte(3 | (this.#flagsOf(effect) << 4))
        writer.integer(effect.map)
        writer.integer(effect.keyEnd - effect.keyStart)
        this.#moments(effect)
        return writer.raw(effect.key, effect.keyStart, effect.keyEnd)
      }
      case 'openMap':
        writer.byte(4 | (evictions.indexOf(effect.limits.eviction) << 4))
        writer.integer(effect.map)
        return writer.float64(effect.limits.maxBytes)
      case 'clear':
        writer.byte(5)
        return writer.integer(effect.map)
      case 'dropMap':
        writer.byte(6)
        return writer.integer(effect.map)
      case 'putRecord':
        writer.byte(7)
        writer.integer(effect.space)
        this.#bytes(effect.key, 0, effect.key.length)
        return this.#bytes(effect.value, 0, effect.value.length)
      case 'removeRecord':
        writer.byte(8)
        writer.integer(effect.space)
        return this.#bytes(effect.key, 0, effect.key.length)
      case 'openSession':
        writer.byte(9)
        return writer.integer(effect.epoch)
      case 'closeSession':
        writer.byte(11)
        writer.integer(effect.ticketEpoch)
        return writer.integer(effect.ticketPosition)
      case 'mark':
        return writer.byte(12)
      case 'restore':
        writer.byte(13)
        writer.integer(effect.version)
        return this.#put(effect.put)
      case 'restoreSession':
        return this.#session(effect.session)
      default:
        return unreachable(effect)
    }
  }

  #put(put: PutEffect): void {
    const writer = this.#writer
    writer.byte(1 | (this.#flagsOf(put) << 4))
    writer.integer(put.map)
    writer.integer(put.keyEnd - put.keyStart)
    writer.integer(put.valueEnd - put.valueStart)
    this.#moments(put)
    writer.raw(put.key, put.keyStart, put.keyEnd)
    writer.raw(put.value, put.valueStart, put.valueEnd)
  }

  #flagsOf({ expiresAtMs, maxIdleMs, wallTimeMs }: PutEffect | ExpireEffect): number {
    return (
      (expiresAtMs === 0 ? 0 : hasExpiry) | (maxIdleMs === 0 ? 0 : hasMaxIdle) | (wallTimeMs === this.#before.wallTimeMs ? sameMoment : 0)
    )
  }

  #moments({ expiresAtMs, maxIdleMs, wallTimeMs }: PutEffect | ExpireEffect): void {
    const writer = this.#writer
    if (wallTimeMs !== this.#before.wallTimeMs) {
      writer.float64(wallTimeMs)
      this.#before.wallTimeMs = wallTimeMs
    }
    if (expiresAtMs !== 0) writer.float64(expiresAtMs)
    if (maxIdleMs !== 0) writer.float64(maxIdleMs)
  }

  #session({ epoch, position, trimmedTo, results }: Extract<ImageEffect, { kind: 'restoreSession' }>['session']): void {
    const writer = this.#writer
    writer.byte(14)
    writer.integer(epoch)
    writer.integer(position)
    writer.integer(trimmedTo)
    writer.integer(results.size)
    for (const [number, recorded] of results) {
      writer.integer(number)
      writer.integer(recorded.position)
      this.#bytes(recorded.result, 0, recorded.result.length)
    }
  }

  #bytes(bytes: Uint8Array, start: number, end: number): void {
    this.#writer.integer(end - start)
    this.#writer.raw(bytes, start, end)
  }
}

/** Memory of its own is cheaper than a view of other up to so many bytes: it needs no buffer object. */
const ownBytesMax = 64

/** Effects that it makes may hold views of the bytes given to `begin`. Throws INVALID_ARGUMENT for what is no effect. */
export class EffectDecoder {
  #bytes: Buffer = Buffer.alloc(0)
  readonly #reader = new ByteReader(this.#bytes)
  readonly #before = new Before()

  /** Before the effects of a message, which are all of `bytes`. */
  begin(bytes: Buffer): void {
    this.#bytes = bytes
    this.#reader.begin(bytes)
    this.#before.forget()
  }

  get done(): boolean {
    return this.#reader.done
  }

  integer(): number {
    return this.#reader.integer()
  }

  read(): Effect {
    const head = this.#reader.byte()
    const effect = this.#effect(head & 15, head >>> 4)
    if (effect === undefined) throw unknownKind(head)
    return effect
  }

  readOfImage(): ImageEffect {
    const reader = this.#reader
    const head = reader.byte()
    if (head === 13) {
      const version = reader.integer()
      const put = reader.byte()
      if ((put & 15) !== 1) throw unknownKind(put)
      return { kind: 'restore', put: this.#put(put >>> 4), version }
    }
    if (head === 14) return this.#session()
    const effect = this.#effect(head & 15, head >>> 4)
    if (effect?.kind === 'openMap' || effect?.kind === 'putRecord') return effect
    throw unknownKind(head)
  }

  #effect(number: number, flags: number): Effect | undefined {
    const reader = this.#reader
    switch (number) {
      case 1:
        return this.#put(flags)
      case 2: {
        const reason = reasons[flags]
        if (reason === undefined) throw invalidArgument(`Cannot read effect: a remove has reason ${flags}`)
        const map = this.#map()
        const keyStart = reader.span(reader.integer())
        return { kind: 'remove', map, key: this.#bytes, keyStart, keyEnd: reader.at, reason }
      }
      case 3: {
        const map = this.#map()
        const keyLength = reader.integer()
        const wallTimeMs = this.#moment(flags)
        const expiresAtMs = (flags & hasExpiry) === 0 ? 0 : reader.float64()
        const maxIdleMs = (flags & hasMaxIdle) === 0 ? 0 : reader.float64()
        const keyStart = reader.span(keyLength)
        return { kind: 'expire', map, key: this.#bytes, keyStart, keyEnd: reader.at, expiresAtMs, maxIdleMs, wallTimeMs }
      }
      case 4: {
        const eviction = evictions[flags]
        if (eviction === undefined) throw invalidArgument(`Cannot read effect: a map has eviction ${flags}`)
        return { kind: 'openMap', map: this.#map(), limits: { maxBytes: reader.float64(), eviction } }
      }
      case 5:
        return { kind: 'clear', map: this.#map() }
      case 6:
        return { kind: 'dropMap', map: this.#map() }
      case 7:
        return { kind: 'putRecord', space: reader.integer(), key: this.#view(), value: this.#view() }
      case 8:
        return { kind: 'removeRecord', space: reader.integer(), key: this.#view() }
      case 9:
        return { kind: 'openSession', epoch: reader.integer() }
      case 10:
        return this.#recordResult(flags)
      case 11:
        return { kind: 'closeSession', ticketEpoch: reader.integer(), ticketPosition: reader.integer() }
      case 12:
        return { kind: 'mark' }
      default:
        return undefined
    }
  }

  #put(flags: number): PutEffect {
    const reader = this.#reader
    const map = this.#map()
    const keyLength = reader.integer()
    const valueLength = reader.integer()
    const wallTimeMs = this.#moment(flags)
    const expiresAtMs = (flags & hasExpiry) === 0 ? 0 : reader.float64()
    const maxIdleMs = (flags & hasMaxIdle) === 0 ? 0 : reader.float64()
    const keyStart = reader.span(keyLength)
    const keyEnd = reader.span(valueLength)
    const bytes = this.#bytes
    return {
      kind: 'put',
      map,
      key: bytes,
      keyStart,
      keyEnd,
      value: bytes,
      valueStart: keyEnd,
      valueEnd: reader.at,
      expiresAtMs,
      maxIdleMs,
      wallTimeMs,
    }
  }

  #moment(flags: number): number {
    if ((flags & sameMoment) === 0) this.#before.wallTimeMs = this.#reader.float64()
    return this.#before.wallTimeMs
  }

  #recordResult(flags: number): Effect {
    const reader = this.#reader
    const before = this.#before
    if ((flags & sameTicket) === 0) {
      before.ticketEpoch = reader.integer()
      before.ticketPosition = reader.integer()
    }
    before.number = (flags & nextNumber) === 0 ? reader.integer() : before.number + 1
    const { ticketEpoch, ticketPosition, number } = before
    if (ticketEpoch < 0) throw invalidArgument('Cannot read effect: its ticket is that of an effect before it, and there is none')
    return { kind: 'recordResult', ticketEpoch, ticketPosition, number, trimTo: reader.integer(), result: this.#view() }
  }

  #session(): ImageEffect {
    const reader = this.#reader
    const epoch = reader.integer()
    const position = reader.integer()
    const trimmedTo = reader.integer()
    const count = reader.integer()
    const results = new Map<number, RecordedResult>()
    for (let i = 0; i < count; i += 1) {
      const number = reader.integer()
      const at = reader.integer()
      results.set(number, { result: this.#view(), position: at })
    }
    return { kind: 'restoreSession', session: { epoch, position, trimmedTo, results } }
  }

  #map(): MapId {
    return this.#reader.integer() as MapId
  }

  #view(): Uint8Array {
    const length = this.#reader.integer()
    const start = this.#reader.span(length)
    if (length > ownBytesMax) return this.#bytes.subarray(start, start + length)
    const own = new Uint8Array(length)
    copyInto(own, 0, this.#bytes, start, start + length)
    return own
  }
}

const unknownKind = (head: number): Error => invalidArgument(`Cannot read effect: kind ${head & 15} with flags ${head >>> 4} is not known`)
