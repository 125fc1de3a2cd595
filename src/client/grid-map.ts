/**
 * A map, as a client sees it: typed keys and values over the router.
 *
 * Values are MessagePack (see wire/value-codec). With a schema, what is written is its output, and a value it refuses is INVALID_ARGUMENT;
 * what is read is returned as it was stored, whoever stored it.
 */
import type { Duration } from '../base/duration.ts'
import { parseDuration } from '../base/duration.ts'
import { invalidArgument, NearstateError } from '../base/errors.ts'
import { type Schema, validate } from '../base/schema.ts'
import { encodeKeyInto, encodeKeyPrefix, keyMaxBytes } from '../keys/encode-key.ts'
import type { InvokeFunction } from '../keys/function-types.ts'
import type { AnyKey, KeyOf } from '../keys/key-space.ts'
import { partitionOfKey } from '../keys/partition-of.ts'
import { OperationKind, type OperationOptions, type ResultDetail } from '../wire/generated/nearstate/v1/data.ts'
import { emptyOptions } from '../wire/operations.ts'
import { decodeValue, type Encoded, encodeShared } from '../wire/value-codec.ts'
import {
  type CallOptions,
  cancelled,
  checkOptions,
  type ExpiryOptions,
  isAnyReplica,
  type ReadOptions,
  signalOf,
  timeoutMsOf,
} from './call-options.ts'
import { type MapRoute, Operation } from './operation.ts'
import { entriesOf, inGroups, pagesOf, pairsOf, type ReadPage, type ScannedEntry } from './partition-pages.ts'
import type { Router } from './router.ts'

export interface MapEntry<V> {
  readonly value: V
  /** Grows with every write to the key, also after delete and re-create. */
  readonly version: number
  /** Wall time in milliseconds; undefined: never. */
  readonly expiresAt: number | undefined
}

export interface ScanOptions<K> extends ReadOptions {
  /** At most so many entries. */
  readonly limit?: number
  /** String and bytes keys: those that begin with it. Tuples: those whose first elements are it. */
  readonly prefix?: K extends readonly unknown[] ? readonly unknown[] : K
}

export interface InvokeAllOptions<K> {
  /** Only these; default: every entry of the map. */
  readonly keys?: Iterable<K>
}

const keyScratch = Buffer.allocUnsafeSlow(keyMaxBytes)
const callNames = ['signal', 'timeout']
const readNames = [...callNames, 'readFrom']
const expiryNames = [...callNames, 'ttl', 'maxIdle']
const whereLater = { where: 'predicates on values come with the query engine, in a later release; filter what you get, or use a prefix' }
/** Entries of one setAll or getAll that are on their way at once. */
const groupSize = 8192

export class GridMap<S extends AnyKey, V> {
  readonly name: string
  readonly key: S
  readonly #router: Router
  readonly #route: MapRoute
  readonly #schema: Schema<V> | undefined
  readonly #timeoutMs: number
  /** Reads may be answered by any replica. */
  readonly #readsAny: boolean

  /** Made by `grid.map`. */
  constructor(router: Router, name: string, key: S, schema: Schema<V> | undefined, timeoutMs: number, readsAny = false) {
    this.name = name
    this.key = key
    this.#router = router
    this.#route = router.routeOf(name, key)
    this.#schema = schema
    this.#timeoutMs = timeoutMs
    this.#readsAny = readsAny
  }

  /** The value, or undefined. Linearizable: sees every write that was acknowledged before the call; not so with `readFrom: 'any'`. */
  get(key: KeyOf<S>, options?: ReadOptions): Promise<V | undefined> {
    return this.#call(OperationKind.GET, key, undefined, false, this.#reading(options), options, readValue) as Promise<V | undefined>
  }

  /** The value with its version and expiry, or undefined. */
  getEntry(key: KeyOf<S>, options?: ReadOptions): Promise<MapEntry<V> | undefined> {
    return this.#call(OperationKind.GET_ENTRY, key, undefined, false, this.#reading(options), options, readEntry) as Promise<
      MapEntry<V> | undefined
    >
  }

  /** Writes the value, whatever was there. Resolves when it is acknowledged. `undefined` is no value. */
  set(key: KeyOf<S>, value: V, options?: ExpiryOptions & CallOptions): Promise<void> {
    const expiry = options === undefined ? undefined : () => this.#expiryOptions(options)
    return this.#call(OperationKind.SET, key, value, true, expiry, options, nothing) as Promise<void>
  }

  /** Deletes the entry; resolves to whether it was there. With `ifVersion`, only that version; CONFLICT when it has another. */
  delete(key: KeyOf<S>, options?: { readonly ifVersion?: number } & CallOptions): Promise<boolean> {
    const wire = options?.ifVersion === undefined ? undefined : () => this.#versionOptions('delete', options)
    return this.#call(OperationKind.DELETE, key, undefined, false, wire, options, wasThere) as Promise<boolean>
  }

  /** Writes the value only if there is none: resolves to undefined then, else to the value that is there. */
  putIfAbsent(key: KeyOf<S>, value: V, options?: ExpiryOptions & CallOptions): Promise<V | undefined> {
    const expiry = options === undefined ? undefined : () => this.#expiryOptions(options)
    return this.#call(OperationKind.PUT_IF_ABSENT, key, value, true, expiry, options, readValue) as Promise<V | undefined>
  }

  /** Writes the value only over the version given; CONFLICT otherwise. The entry keeps its expiry. */
  replace(key: KeyOf<S>, value: V, options: { readonly ifVersion: number } & CallOptions): Promise<void> {
    const wire = (): OperationOptions => this.#versionOptions('replace', options)
    return this.#call(OperationKind.REPLACE, key, value, true, wire, options, nothing) as Promise<void>
  }

  /**
   * Reads, calls `fn` (with undefined for a missing entry) and writes its result if nobody wrote meanwhile; tries again if
   * somebody did. `fn` may therefore run several times. Resolves to the new value. For heavy contention use `invoke`.
   */
  async update(key: KeyOf<S>, fn: (value: V | undefined) => V, options?: CallOptions): Promise<V> {
    checkOptions('update', options, callNames)
    const deadlineMs = performance.now() + timeoutMsOf(options, this.#timeoutMs)
    for (;;) {
      const left = this.#remaining(deadlineMs, 'update', options)
      const entry = await this.getEntry(key, { ...left, readFrom: 'primary' })
      const next = fn(entry?.value)
      try {
        if (entry !== undefined) {
          await this.replace(key, next, { ...this.#remaining(deadlineMs, 'update', options), ifVersion: entry.version })
          return next
        }
        if ((await this.putIfAbsent(key, next, this.#remaining(deadlineMs, 'update', options))) === undefined) return next
      } catch (thrown) {
        if (!(thrown instanceof NearstateError && thrown.code === 'CONFLICT')) throw thrown
      }
    }
  }

  /** Changes when the entry expires, without writing the value; what is not named stays. Resolves to whether it was there. */
  expire(key: KeyOf<S>, expiry: ExpiryOptions, options?: CallOptions): Promise<boolean> {
    const wire = (): OperationOptions => {
      const changes = this.#expiryOptions(expiry)
      if (changes === undefined)
        throw invalidArgument(`Cannot change expiry in map "${this.name}": ttl or maxIdle is wanted; persist lifts both`)
      return changes
    }
    return this.#call(OperationKind.EXPIRE, key, undefined, false, wire, options, wasThere) as Promise<boolean>
  }

  /** Lifts every expiry from the entry. Resolves to whether it was there. */
  persist(key: KeyOf<S>, options?: CallOptions): Promise<boolean> {
    const lift = (): OperationOptions => ({ ...emptyOptions(), ttlMs: 0n, maxIdleMs: 0n })
    return this.#call(OperationKind.EXPIRE, key, undefined, false, lift, options, wasThere) as Promise<boolean>
  }

  /** The entries that are there, by key as given. Reads of one turn leave as one message per shard. */
  async getAll(keys: Iterable<KeyOf<S>>, options?: ReadOptions): Promise<Map<KeyOf<S>, V>> {
    checkOptions('getAll', options, readNames)
    const found = new Map<KeyOf<S>, V>()
    for (const group of inGroups(keys, groupSize)) {
      const values = await Promise.all(group.map(key => this.get(key, options)))
      group.forEach((key, i) => {
        const value = values[i]
        if (value !== undefined) found.set(key, value)
      })
    }
    return found
  }

  /** Writes all entries; not atomic. When some fail, the error (the first one's code) lists their keys in `failedKeys`. */
  async setAll(entries: Iterable<readonly [KeyOf<S>, V]>, options?: ExpiryOptions & CallOptions): Promise<void> {
    checkOptions('setAll', options, expiryNames)
    const failedKeys: KeyOf<S>[] = []
    let first: unknown
    for (const group of inGroups(entries, groupSize)) {
      const outcomes = await Promise.allSettled(group.map(([key, value]) => this.set(key, value, options)))
      outcomes.forEach((outcome, i) => {
        if (outcome.status === 'fulfilled') return
        first ??= outcome.reason
        failedKeys.push((group[i] as readonly [KeyOf<S>, V])[0])
      })
    }
    if (failedKeys.length === 0) return
    const cause = first instanceof NearstateError ? first : new NearstateError('INTERNAL', String(first))
    throw new NearstateError(cause.code, `${failedKeys.length} entries of map "${this.name}" were not written: ${cause.message}`, {
      cause,
      failedKeys,
    })
  }

  /**
   * Runs a deployed function on the entry, atomically, where it lives. Its effect happens once, however often the call has to be sent;
   * OUTCOME_UNKNOWN when that cannot be said within the time-out. FUNCTION_FAILED carries the function's own message and stack.
   */
  readonly invoke: InvokeFunction<KeyOf<S>, CallOptions> = ((key: KeyOf<S>, name: string, args?: unknown, options?: CallOptions) => {
    const wire = (): OperationOptions => ({ ...emptyOptions(), function: checkFunctionName(name) })
    return this.#call(OperationKind.INVOKE, key, args === undefined ? null : args, true, wire, options, readValue)
  }) as InvokeFunction<KeyOf<S>, CallOptions>

  /**
   * Runs a deployed function on many entries, on all owners in parallel; resolves to the results that are not undefined, by key.
   * Without `keys`, a page of calls whose answer is lost is OUTCOME_UNKNOWN and not repeated.
   */
  async invokeAll(
    target: InvokeAllOptions<KeyOf<S>>,
    name: string,
    args?: unknown,
    options?: CallOptions,
  ): Promise<Map<KeyOf<S>, unknown>> {
    checkOptions('invokeAll', target, ['keys'], whereLater)
    checkOptions('invokeAll', options, callNames)
    const results = new Map<KeyOf<S>, unknown>()
    const keep = (key: KeyOf<S>, result: unknown): void => {
      if (result !== undefined) results.set(key, result)
    }
    if (target.keys !== undefined) {
      for (const group of inGroups(target.keys, groupSize)) {
        const outcomes = await Promise.all(group.map(key => this.invoke(key, name, args, options)))
        group.forEach((key, i) => keep(key, outcomes[i]))
      }
      return results
    }
    const wire = { ...emptyOptions(), function: checkFunctionName(name) }
    const page = (partition: number, cursor: Buffer): Promise<Buffer> =>
      this.#callPartition(
        OperationKind.INVOKE_ALL,
        partition,
        args === undefined ? null : args,
        true,
        { ...wire, cursor },
        options,
      ) as Promise<Buffer>
    for await (const [key, result] of pagesOf(this.#router.partitionCount, page, pairsOf<KeyOf<S>>(this.key.codec))) keep(key, result)
    return results
  }

  /** Number of entries, over all partitions; exact where nothing is written meanwhile. Expired entries that were not yet removed count. */
  async size(options?: ReadOptions): Promise<number> {
    checkOptions('size', options, readNames)
    const counts = await this.#everywhere(OperationKind.SIZE, options, this.#reading(options)?.() ?? emptyOptions())
    return counts.reduce((sum, bytes) => sum + (bytes.length === 8 ? Number(bytes.readBigUInt64BE()) : 0), 0)
  }

  /** Removes all entries. Not atomic: entries written meanwhile may stay. */
  async clear(options?: CallOptions): Promise<void> {
    checkOptions('clear', options, callNames)
    await this.#everywhere(OperationKind.CLEAR, options, emptyOptions())
  }

  /**
   * All entries, in no order that means anything. Each entry that is there throughout comes exactly once; one written or deleted
   * meanwhile comes at most once. Reads ahead a bounded number of pages; `break` stops it. `timeout` is that of one page.
   */
  scan(options: ScanOptions<KeyOf<S>> = {}): AsyncGenerator<[KeyOf<S>, V]> {
    return this.#scan(options, pairsOf<KeyOf<S>>(this.key.codec)) as AsyncGenerator<[KeyOf<S>, V]>
  }

  /** As `scan`, with version and expiry of each entry. */
  scanEntries(options: ScanOptions<KeyOf<S>> = {}): AsyncGenerator<ScannedEntry<KeyOf<S>, V>> {
    return this.#scan(options, entriesOf<KeyOf<S>>(this.key.codec)) as AsyncGenerator<ScannedEntry<KeyOf<S>, V>>
  }

  async *#scan<T>(options: ScanOptions<KeyOf<S>>, read: ReadPage<T>): AsyncGenerator<T> {
    checkOptions('scan', options, [...readNames, 'limit', 'prefix'], whereLater)
    const { limit = Number.POSITIVE_INFINITY, prefix } = options
    if (limit !== Number.POSITIVE_INFINITY && !(Number.isSafeInteger(limit) && limit >= 0)) {
      throw invalidArgument(`Cannot scan map "${this.name}": limit is ${String(limit)}, a whole number of entries is wanted`)
    }
    const wire = this.#reading(options)?.() ?? emptyOptions()
    if (limit < 1000) wire.limit = Math.max(1, limit)
    if (prefix !== undefined) wire.prefix = Buffer.from(encodeKeyPrefix(this.key.codec, prefix))
    const page = (partition: number, cursor: Buffer): Promise<Buffer> =>
      this.#callPartition(OperationKind.SCAN, partition, undefined, false, { ...wire, cursor }, options) as Promise<Buffer>
    let left = limit
    if (left === 0) return
    for await (const entry of pagesOf(this.#router.partitionCount, page, read)) {
      yield entry
      left -= 1
      if (left === 0) return
    }
  }

  /** What a read says on the wire; undefined: nothing. */
  #reading(options: ReadOptions | undefined): (() => OperationOptions) | undefined {
    if (options?.readFrom === undefined) return this.#readsAny ? anyReplica : undefined
    return () => ({ ...emptyOptions(), anyReplica: isAnyReplica(options.readFrom) })
  }

  #remaining(deadlineMs: number, what: string, options: CallOptions | undefined): CallOptions {
    const leftMs = Math.floor(deadlineMs - performance.now())
    if (leftMs <= 0)
      throw new NearstateError(
        'DEADLINE_EXCEEDED',
        `${what} on map "${this.name}" was not done within the time-out: others wrote the entry each time`,
      )
    return { timeout: `${leftMs}ms`, ...signalOf(options) }
  }

  #versionOptions(what: string, options: { readonly ifVersion?: number } & CallOptions): OperationOptions {
    checkOptions(what, options, [...callNames, 'ifVersion'])
    const { ifVersion } = options
    if (ifVersion === undefined || !Number.isSafeInteger(ifVersion) || ifVersion < 0) {
      throw invalidArgument(
        `Cannot ${what} in map "${this.name}": ifVersion is ${String(ifVersion)}, a version that getEntry gave is wanted`,
      )
    }
    return { ...emptyOptions(), ifVersion: BigInt(ifVersion) }
  }

  #expiryOptions(options: ExpiryOptions & CallOptions): OperationOptions | undefined {
    checkOptions(`map "${this.name}"`, options, expiryNames)
    if (options.ttl === undefined && options.maxIdle === undefined) return undefined
    const wire = emptyOptions()
    if (options.ttl !== undefined) wire.ttlMs = expiryMs('ttl', options.ttl)
    if (options.maxIdle !== undefined) wire.maxIdleMs = expiryMs('maxIdle', options.maxIdle)
    return wire
  }

  async #everywhere(kind: number, options: CallOptions | undefined, wire: OperationOptions): Promise<readonly Buffer[]> {
    const partitions = Array.from({ length: this.#router.partitionCount }, (_, partition) => partition)
    return Promise.all(
      partitions.map(partition => this.#callPartition(kind, partition, undefined, false, { ...wire }, options)),
    ) as Promise<Buffer[]>
  }

  #callPartition(
    kind: number,
    partition: number,
    value: unknown,
    hasValue: boolean,
    wire: OperationOptions,
    options: CallOptions | undefined,
  ): Promise<unknown> {
    wire.partition = partition
    return new Promise((resolve, reject) => {
      const deadlineMs = performance.now() + timeoutMsOf(options, this.#timeoutMs)
      const operation = new Operation(kind, this.#route, partition, wire, deadlineMs, rawBytes, resolve, reject)
      operation.fromAny = wire.anyReplica
      if (options !== undefined && !this.#observe(operation, options)) return
      const encoded = hasValue ? this.#encoded(value) : nothingEncoded
      this.#router.submit(operation, keyScratch, 0, encoded.bytes, encoded.start, encoded.end)
    })
  }

  #call(
    kind: number,
    key: KeyOf<S>,
    value: unknown,
    hasValue: boolean,
    wire: (() => OperationOptions | undefined) | undefined,
    options: CallOptions | undefined,
    complete: Operation['complete'],
  ): Promise<unknown> {
    const promise = new Promise<unknown>(capture)
    const { resolve, reject } = captured
    try {
      // The user's own code (schema, toJSON) runs before the key is in the scratch buffer: it may call maps too.
      let encoded: Readonly<Encoded> | typeof nothingEncoded = nothingEncoded
      if (hasValue)
        encoded = this.#encoded(this.#schema !== undefined && kind !== OperationKind.INVOKE ? this.#validated(this.#schema, value) : value)
      this.#submitKeyed(kind, key, encoded.bytes, encoded.start, encoded.end, wire, options, complete, resolve, reject)
    } catch (thrown) {
      // Whatever is wrong with the arguments rejects the call.
      reject(thrown)
    }
    return promise
  }

  #submitKeyed(
    kind: number,
    key: KeyOf<S>,
    value: Buffer | undefined,
    valueStart: number,
    valueEnd: number,
    wire: (() => OperationOptions | undefined) | undefined,
    options: CallOptions | undefined,
    complete: Operation['complete'],
    resolve: (result: unknown) => void,
    reject: (error: unknown) => void,
  ): void {
    const { keyCodec } = this.#route
    const keyEnd = encodeKeyInto(keyCodec, key, keyScratch, 0)
    const partition = partitionOfKey(keyCodec, keyScratch, 0, keyEnd, this.#router.partitionCount)
    const deadlineMs = performance.now() + (options === undefined ? this.#timeoutMs : timeoutMsOf(options, this.#timeoutMs))
    const operation = new Operation(kind, this.#route, partition, wire?.(), deadlineMs, complete, resolve, reject)
    if (operation.options?.anyReplica === true) operation.fromAny = true
    if (options === undefined || this.#observe(operation, options)) {
      this.#router.submit(operation, keyScratch, keyEnd, value, valueStart, valueEnd)
    }
  }

  /** See `encodeShared`. */
  #encoded(value: unknown): Readonly<Encoded> {
    if (value === undefined) throw invalidArgument(`Cannot store entry in map "${this.name}": the value is undefined; use delete, or null`)
    const encoded = encodeShared(value)
    const length = encoded.end - encoded.start
    const { valueMaxBytes } = this.#router
    if (length > valueMaxBytes) {
      throw invalidArgument(`Cannot store entry in map "${this.name}": value is ${length} bytes, limit is ${valueMaxBytes}`)
    }
    return encoded
  }

  /** Whether the call may go on. */
  #observe(operation: Operation, options: CallOptions): boolean {
    const { signal } = options
    if (signal === undefined) return true
    const abort = (): void => operation.fail(cancelled(`Call on map "${this.name}"`, signal))
    if (signal.aborted) {
      abort()
      return false
    }
    signal.addEventListener('abort', abort, { once: true })
    operation.onSettled = () => signal.removeEventListener('abort', abort)
    return true
  }

  #validated(schema: Schema<V>, value: unknown): unknown {
    const outcome = validate(schema, value)
    if (outcome.kind === 'refused')
      throw invalidArgument(`Cannot store entry in map "${this.name}": its schema refuses the value: ${outcome.reason}`)
    return outcome.value
  }
}

/** One executor for the promises of all calls: a closure for each would cost more than the rest of a call's bookkeeping. */
const captured: { resolve: (result: unknown) => void; reject: (error: unknown) => void } = {
  resolve: () => undefined,
  reject: () => undefined,
}
const capture = (resolve: (result: unknown) => void, reject: (error: unknown) => void): void => {
  captured.resolve = resolve
  captured.reject = reject
}

/** Of a call that carries no value. */
const nothingEncoded = { bytes: undefined, start: 0, end: 0 } as const

const readValue = (absent: boolean, bytes: Buffer, start: number, end: number): unknown =>
  absent || start === end ? undefined : decodeValue(bytes, start, end)
const readEntry = (absent: boolean, bytes: Buffer, start: number, end: number, detail: ResultDetail | undefined): unknown =>
  absent
    ? undefined
    : {
        value: decodeValue(bytes, start, end),
        version: Number(detail?.version ?? 0n),
        expiresAt: detail?.expiresAtMs === undefined ? undefined : Number(detail.expiresAtMs),
      }
const anyReplica = (): OperationOptions => ({ ...emptyOptions(), anyReplica: true })
const nothing = (): undefined => undefined
const wasThere = (absent: boolean): boolean => !absent
const rawBytes = (_absent: boolean, bytes: Buffer, start: number, end: number): Buffer => bytes.subarray(start, end)

function expiryMs(what: string, duration: Duration): bigint {
  const ms = parseDuration(duration, what)
  if (ms === 0) throw invalidArgument(`Cannot use ${what} "${duration}": more than 0 is wanted; persist lifts an expiry`)
  return BigInt(ms)
}

function checkFunctionName(name: unknown): string {
  if (typeof name !== 'string' || name === '')
    throw invalidArgument(`Cannot invoke: the name of a deployed function is wanted, got ${typeof name}`)
  return name
}
