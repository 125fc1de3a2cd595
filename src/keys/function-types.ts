/**
 * Types of deployed functions: what the file that defines them, the shard that runs them and the client that calls them agree on.
 *
 * Here rather than in grid because the client may not import grid. Nothing but types. The client's `invoke` is typed by
 * `InvokeFunction`; `typeof import('./functions.js').default` is a `FunctionSet`.
 */
import type { Duration } from '../base/duration.ts'

/** A key, decoded by its map's codec. */
export type EntryKey = string | number | Uint8Array | readonly (string | number | Uint8Array)[]

/** What an entry processor sees of its entry. Reads see its own writes; nothing is stored until the function has returned. */
export interface Entry<V, Key = EntryKey> {
  readonly key: Key
  /** Version of the entry as it was before this call; 0 when there was none. */
  readonly version: number
  /** The value, or undefined when there is no entry. Not shared: it may be changed, but only `set` stores it. */
  get(): V | undefined
  /** Stores the value when the function returns. Without `ttl` the entry keeps its expiry, and a new one gets the map's own. */
  set(value: V, options?: { readonly ttl?: Duration }): void
  delete(): void
}

/** Runs where the entry lives, alone on it. Synchronous; `args` and the result are copied, so they must be plain data. */
export type EntryFunction<V, Args, Result> = (entry: Entry<V>, args: Args) => Result

/** Entry functions of any types. Not a signature: from one, TypeScript would infer the types of functions written in place. */
export type FunctionRecord = Readonly<Record<string, CallableFunction>>

/** The default export of a functions file. */
export interface FunctionSet<F extends FunctionRecord = FunctionRecord> {
  readonly functions: F
}

export type FunctionName<S extends FunctionSet> = keyof S['functions'] & string
/** What the function takes besides its entry; undefined when it takes nothing. */
export type FunctionArgs<S extends FunctionSet, Name extends FunctionName<S>> = ArgsOf<S['functions'][Name]>
export type FunctionResult<S extends FunctionSet, Name extends FunctionName<S>> = ResultOf<S['functions'][Name]>

type ResultOf<F> = F extends (...call: never) => infer Result ? Result : unknown
type ArgsOf<F> = F extends (entry: never, ...rest: infer Rest) => unknown ? (Rest extends [infer Args] ? Args : undefined) : unknown

/** The arguments of a call after the key: those that may be undefined can be left out. */
type CallOf<S extends FunctionSet, Name extends FunctionName<S>, Options> =
  undefined extends FunctionArgs<S, Name>
    ? [name: Name, args?: FunctionArgs<S, Name>, options?: Options]
    : [name: Name, args: FunctionArgs<S, Name>, options?: Options]

// `invoke<Functions>(key, 'addPoints', ...)` gives one type argument, and TypeScript infers no others beside it, so the name
// cannot be a second one. Each overload below stands for one function of the set instead; their order does not matter.
type Intersection<U> = (U extends unknown ? (one: U) => void : never) extends (all: infer I) => void ? I : never
type LastOf<U> = Intersection<U extends unknown ? () => U : never> extends () => infer Last ? Last : never
type ListOf<U, List extends readonly unknown[] = []> = [U] extends [never] ? List : ListOf<Exclude<U, LastOf<U>>, [LastOf<U>, ...List]>
type NameAt<S extends FunctionSet, I extends number> =
  ListOf<FunctionName<S>> extends infer List extends readonly unknown[] ? Extract<List[I], FunctionName<S>> : never
type First16 = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
type NameBeyond<S extends FunctionSet> = Exclude<FunctionName<S>, NameAt<S, First16[number]>>

/**
 * `map.invoke`: untyped, or typed by one type argument, as `invoke<typeof import('./functions.js').default>(key, 'addPoints', args)`.
 * In a file of more than 16 functions, those beyond need the name as second type argument (`invoke<Functions, 'addPoints'>`):
 * without it their result is the union of all.
 */
export interface InvokeFunction<Key, Options> {
  (key: Key, name: string, args?: unknown, options?: Options): Promise<unknown>
  <S extends FunctionSet>(key: Key, ...call: CallOf<S, NameAt<S, 0>, Options>): Promise<FunctionResult<S, NameAt<S, 0>>>
  <S extends FunctionSet>(key: Key, ...call: CallOf<S, NameAt<S, 1>, Options>): Promise<FunctionResult<S, NameAt<S, 1>>>
  <S extends FunctionSet>(key: Key, ...call: CallOf<S, NameAt<S, 2>, Options>): Promise<FunctionResult<S, NameAt<S, 2>>>
  <S extends FunctionSet>(key: Key, ...call: CallOf<S, NameAt<S, 3>, Options>): Promise<FunctionResult<S, NameAt<S, 3>>>
  <S extends FunctionSet>(key: Key, ...call: CallOf<S, NameAt<S, 4>, Options>): Promise<FunctionResult<S, NameAt<S, 4>>>
  <S extends FunctionSet>(key: Key, ...call: CallOf<S, NameAt<S, 5>, Options>): Promise<FunctionResult<S, NameAt<S, 5>>>
  <S extends FunctionSet>(key: Key, ...call: CallOf<S, NameAt<S, 6>, Options>): Promise<FunctionResult<S, NameAt<S, 6>>>
  <S extends FunctionSet>(key: Key, ...call: CallOf<S, NameAt<S, 7>, Options>): Promise<FunctionResult<S, NameAt<S, 7>>>
  <S extends FunctionSet>(key: Key, ...call: CallOf<S, NameAt<S, 8>, Options>): Promise<FunctionResult<S, NameAt<S, 8>>>
  <S extends FunctionSet>(key: Key, ...call: CallOf<S, NameAt<S, 9>, Options>): Promise<FunctionResult<S, NameAt<S, 9>>>
  <S extends FunctionSet>(key: Key, ...call: CallOf<S, NameAt<S, 10>, Options>): Promise<FunctionResult<S, NameAt<S, 10>>>
  <S extends FunctionSet>(key: Key, ...call: CallOf<S, NameAt<S, 11>, Options>): Promise<FunctionResult<S, NameAt<S, 11>>>
  <S extends FunctionSet>(key: Key, ...call: CallOf<S, NameAt<S, 12>, Options>): Promise<FunctionResult<S, NameAt<S, 12>>>
  <S extends FunctionSet>(key: Key, ...call: CallOf<S, NameAt<S, 13>, Options>): Promise<FunctionResult<S, NameAt<S, 13>>>
  <S extends FunctionSet>(key: Key, ...call: CallOf<S, NameAt<S, 14>, Options>): Promise<FunctionResult<S, NameAt<S, 14>>>
  <S extends FunctionSet>(key: Key, ...call: CallOf<S, NameAt<S, 15>, Options>): Promise<FunctionResult<S, NameAt<S, 15>>>
  <S extends FunctionSet, Name extends FunctionName<S> = NameBeyond<S>>(
    key: Key,
    ...call: CallOf<S, Name, Options>
  ): Promise<FunctionResult<S, Name>>
}
