/**
 * Entry processors on this shard: which function, on which entry, in a slice of user code.
 *
 * Owns: the calls under way. Does not: keep order with other operations (pipe.ts parks the partition), run slices (user-code),
 * know what a call does to an entry (grid/entry-processor.ts).
 *
 * 1. The function is resolved when the call is taken, the entry when it runs: another call's effects lie between.
 * 2. `run` only reads and encodes; `finish` stores. Answers leave in a turn of their own, never on the slice's stack.
 * 3. Calls under way are admitted operations, so admission control bounds them; those of a pipe that has closed do not run.
 */
import { NearstateError } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import { EntryCall, type ValueCodec } from '../grid/entry-processor.ts'
import { decodeKey } from '../keys/encode-key.ts'
import { scanEnd } from '../storage/map-store.ts'
import { answerMaxBytesOf } from '../wire/limits.ts'
import type { AnswerWriter } from './answers.ts'
import type { MapHandle } from './map-catalog.ts'
import { PageBuilder, readCursor } from './scans.ts'
import type { SliceTask } from './user-code/slice-task.ts'
import type { LoadedFunction, UserCode } from './user-code/user-code.ts'

export interface InvokeCall {
  readonly handle: MapHandle
  readonly partition: number
  /** Of the function. */
  readonly name: string
  /** Encoded arguments. */
  readonly args: Uint8Array
  /** The caller has gone: what has not begun does not run. */
  isAbandoned(): boolean
  /** This shard serves the partition now. */
  isServed(): boolean
  /** Stores what one of many calls wanted, as a write of its own; false: the partition takes none now, and nothing was done. */
  store(change: () => void): boolean
  /** Ends the call with a write that `decide` carries out and answers; where the write is not taken, the caller hears that instead. */
  finish(decide: (out: AnswerWriter) => void): void
  /** Ends the call with an error, whatever becomes of what it stored. */
  abort(error: NearstateError): void
  /** The partition or map went away before the function ran: nothing was done, route it again. */
  moved(): void
}

/** What came of the function on one entry. */
type EntryOutcome =
  | { readonly kind: 'ran'; readonly result: Uint8Array; readonly entry: EntryCall }
  | { readonly kind: 'failed'; readonly error: NearstateError }
  | { readonly kind: 'moved' }

/** An invokeAll's answer ends after the page of keys that passes this; the caller goes on from its cursor. */
const resultsMaxBytes = 4 * 1024 * 1024
/** Most keys of a page. It begins with one, and is never longer than what results of the size seen so far leave room for. */
const keysPerPage = 256

export class Invokes {
  readonly #userCode: UserCode
  readonly #codec: ValueCodec
  readonly #clock: Clock

  constructor(userCode: UserCode, codec: ValueCodec, clock: Clock) {
    this.#userCode = userCode
    this.#codec = codec
    this.#clock = clock
  }

  /** Why the function cannot be called; undefined: it can. */
  refusalOf(name: string): NearstateError | undefined {
    return this.#userCode.findFunction(name) === undefined ? unknownFunction(name) : undefined
  }

  /** Schedules a call; a refusal at once when the function is not known. `key` is not copied. */
  invoke(call: InvokeCall, key: Uint8Array): NearstateError | undefined {
    const loaded = this.#userCode.findFunction(call.name)
    if (loaded === undefined) return unknownFunction(call.name)
    const done = (outcome: EntryOutcome): void => {
      if (outcome.kind === 'moved') return call.moved()
      call.finish(out => {
        const refusal = outcome.kind === 'failed' ? outcome.error : outcome.entry.apply(this.#clock.wallTimeMs())
        if (refusal !== undefined) out.error(0, refusal)
        else if (outcome.kind === 'ran') out.value(0, outcome.result, 0, outcome.result.length)
      })
    }
    this.#userCode.slices.schedule(new EntryTask(this.#userCode, this.#codec, this.#clock, loaded, call, key, done))
    return undefined
  }

  /** Calls the function on every entry of the partition, or the next `limit` (0: all) from `cursor` on. */
  invokeAll(call: InvokeCall, cursor: Buffer | undefined, limit: number): NearstateError | undefined {
    const loaded = this.#userCode.findFunction(call.name)
    if (loaded === undefined) return unknownFunction(call.name)
    const start = cursor === undefined ? 0 : readCursor(cursor)
    if (typeof start !== 'number') return start
    const sweep = new PartitionCall(call, start, limit, this.#clock, (key, done) => {
      this.#userCode.slices.schedule(new EntryTask(this.#userCode, this.#codec, this.#clock, loaded, call, key, done))
    })
    sweep.next()
    return undefined
  }
}

const unknownFunction = (name: string): NearstateError =>
  new NearstateError('NOT_FOUND', `Cannot invoke function "${name}": no such function is deployed`)

class EntryTask implements SliceTask {
  readonly #userCode: UserCode
  readonly #codec: ValueCodec
  readonly #clock: Clock
  readonly #loaded: LoadedFunction
  readonly #call: InvokeCall
  readonly #key: Uint8Array
  readonly #done: (outcome: EntryOutcome) => void
  /** undefined after `run`: the partition is not here any more, or nobody waits for the call. */
  #entryCall: EntryCall | undefined

  constructor(
    userCode: UserCode,
    codec: ValueCodec,
    clock: Clock,
    loaded: LoadedFunction,
    call: InvokeCall,
    key: Uint8Array,
    done: (outcome: EntryOutcome) => void,
  ) {
    this.#userCode = userCode
    this.#codec = codec
    this.#clock = clock
    this.#loaded = loaded
    this.#call = call
    this.#key = key
    this.#done = done
  }

  get label(): string {
    return this.#loaded.name
  }

  run(): void {
    const { handle, partition, args } = this.#call
    const part = handle.parts[partition]
    if (part === undefined || this.#call.isAbandoned() || !this.#call.isServed()) return
    const call = new EntryCall(part, this.#key, this.#codec)
    this.#entryCall = call
    const key = decodeKey(handle.definition.keyCodec, this.#key)
    const decodedArgs = args.length === 0 ? undefined : this.#codec.decode(args, 0, args.length)
    call.run((entry, given) => this.#loaded.call(entry, given), key, decodedArgs, this.#clock.wallTimeMs())
  }

  finish(): void {
    const entry = this.#entryCall
    if (entry?.result === undefined) this.#done({ kind: 'moved' })
    else this.#done({ kind: 'ran', result: entry.result, entry })
  }

  failed(thrown: unknown): void {
    const { message, stack } = this.#userCode.describeFailure(thrown, this.#loaded.bundle)
    this.#fail(`Function "${this.#loaded.name}" failed: ${message}`, stack)
  }

  stopped(message: string): void {
    this.#fail(`Function ${message}`, undefined)
  }

  #fail(message: string, functionStack: string | undefined): void {
    const details = functionStack === undefined ? {} : { functionStack }
    this.#done({ kind: 'failed', error: new NearstateError('FUNCTION_FAILED', message, details) })
  }
}

/** One function over a partition's entries, one call after the other. Not atomic: a failure ends it, what was done stays. */
class PartitionCall {
  readonly #call: InvokeCall
  readonly #clock: Clock
  readonly #invoke: (key: Uint8Array, done: (outcome: EntryOutcome) => void) => void
  readonly #results = new PageBuilder()
  #keys: Uint8Array[] = []
  #cursor: number
  #left: number
  #pageKeys = 1
  #largestResult = 1

  constructor(
    call: InvokeCall,
    cursor: number,
    limit: number,
    clock: Clock,
    invoke: (key: Uint8Array, done: (outcome: EntryOutcome) => void) => void,
  ) {
    this.#call = call
    this.#cursor = cursor
    this.#left = limit === 0 ? Number.POSITIVE_INFINITY : limit
    this.#clock = clock
    this.#invoke = invoke
  }

  /** Begins the call of the next entry, or answers. Entries that went away meanwhile are left out. */
  next(): void {
    const part = this.#call.handle.parts[this.#call.partition]
    if (part === undefined) {
      this.#answerMoved()
      return
    }
    const wallTimeMs = this.#clock.wallTimeMs()
    for (;;) {
      const key = this.#keys.pop()
      if (key === undefined) {
        if (!this.#loadKeys(wallTimeMs)) return this.#answer()
      } else if (part.peek(key, 0, key.length, wallTimeMs)) {
        this.#invoke(key, outcome => this.#called(key, outcome))
        return
      }
    }
  }

  #called(key: Uint8Array, outcome: EntryOutcome): void {
    if (outcome.kind === 'failed') return this.#fail(outcome.error)
    if (outcome.kind === 'moved') return this.#answerMoved()
    let refusal: NearstateError | undefined
    const isStored = this.#call.store(() => {
      refusal = outcome.entry.apply(this.#clock.wallTimeMs())
    })
    if (!isStored) return this.#answerMoved()
    if (refusal !== undefined) return this.#fail(refusal)
    const { result } = outcome
    const { handle, partition, name } = this.#call
    const answerMaxBytes = answerMaxBytesOf(handle.parts[partition]?.valueMaxBytes ?? 0)
    if (this.#results.bytes + key.length + result.length > answerMaxBytes) {
      const message = `Cannot finish invokeAll of "${name}": after ${this.#results.count} entries of partition ${partition} the results of one page pass ${answerMaxBytes} bytes; return less, or invoke by key`
      return this.#fail(new NearstateError('RESOURCE_EXHAUSTED', message))
    }
    this.#largestResult = Math.max(this.#largestResult, result.length)
    this.#results.addKey(key, 0, key.length)
    this.#results.addValue(result, 0, result.length)
    this.next()
  }

  /** False: the partition, the limit or the answer is done. Whole pages only, so that the cursor names what is left. */
  #loadKeys(wallTimeMs: number): boolean {
    const part = this.#call.handle.parts[this.#call.partition]
    if (part === undefined || this.#cursor >= scanEnd || this.#left <= 0 || this.#results.bytes >= resultsMaxBytes) return false
    const room = Math.floor((resultsMaxBytes - this.#results.bytes) / this.#largestResult)
    const limits = { maxEntries: Math.min(this.#pageKeys, this.#left, Math.max(1, room)), maxBytes: resultsMaxBytes }
    this.#pageKeys = Math.min(keysPerPage, this.#pageKeys * 4)
    this.#cursor = part.scanPage(this.#cursor, limits, wallTimeMs, entry =>
      this.#keys.push(entry.segment.slice(entry.keyStart, entry.keyEnd)),
    )
    this.#left -= this.#keys.length
    return true
  }

  #answer(): void {
    const page = this.#results.encode(this.#cursor)
    this.#call.finish(out => out.value(0, page, 0, page.length))
  }

  #fail(error: NearstateError): void {
    this.#call.finish(out => out.error(0, error))
  }

  /** Only a call that has done nothing may be routed again. */
  #answerMoved(): void {
    if (this.#results.count === 0) return this.#call.moved()
    const message = `Cannot finish invokeAll of "${this.#call.name}": partition ${this.#call.partition} went away after ${this.#results.count} entries`
    this.#call.abort(new NearstateError('OUTCOME_UNKNOWN', message))
  }
}
