/**
 * Stages as the author of a job sees them. The key space of a keyed stage is part of its type, so reading or writing a map that
 * lives elsewhere does not compile. Rows are shared between the consumers of a stage: they are read, never changed.
 *
 * Every stage has a name, unique in its job: metrics, dead letters and later upgrades hang on it.
 */
import type { Duration } from '../../base/duration.ts'
import type { AnyKey, KeyOf, TupleKeySpace } from '../../keys/key-space.ts'
import type { Aggregates, ResultOf } from './aggregate.ts'
import type { AsyncCall, AsyncOptions, LogOptions, MapAsyncOptions } from './async-options.ts'
import type { Schema } from '../../base/schema.ts'
import type { Sink } from './sink-descriptors.ts'
import type { Source } from './source-descriptors.ts'
import type { CountWindowSpec, FixedWindowSpec, TimeWindowSpec } from './window-spec.ts'

/** A map of the grid. Read and Write differ only where there is no schema: then a read gives `unknown` and a write takes anything. */
export interface MapRef<S extends AnyKey, out Read, in Write = Read> {
  readonly kind: 'map'
  readonly name: string
  readonly key: S
  readonly value: Schema<unknown> | undefined
  readonly '~read'?: () => Read
  readonly '~write'?: (value: Write) => void
}

export type Windowed<K, R> = { readonly key: K; readonly windowStart: number; readonly windowEnd: number } & R

export interface WindowOptions {
  /** Results before a window closes, marked `early: true`, each time event time has moved on by so much. */
  readonly early?: Duration
  /** How long after its end a late row still changes a window: each such row gives its new result. Default '0s'. */
  readonly allowedLateness?: Duration
}
type EarlyMark<O> = O extends { readonly early: Duration } ? { readonly early: boolean } : unknown

/** Which rows without a partner are given too: none, those of the left input, those of both. */
export type JoinType = 'inner' | 'left' | 'outer'
export type LeftOf<L, T> = T extends 'outer' ? L | undefined : L
export type RightOf<R, T> = T extends 'left' | 'outer' ? R | undefined : R
export interface JoinedWindow<K> {
  readonly key: K
  readonly windowStart: number
  readonly windowEnd: number
}
export interface JoinWindowOptions<W extends FixedWindowSpec, T extends JoinType> {
  readonly window: W
  /** Default 'inner'. */
  readonly type?: T
}
export interface JoinIntervalOptions<T extends JoinType> {
  /** A right row may be so much earlier than its left row, and so much later, both included. */
  readonly before: Duration
  readonly after: Duration
  /** Default 'inner'. */
  readonly type?: T
  /** How long rows are kept beyond what is needed in order, so that late ones still find them. Default '0s'. */
  readonly allowedLateness?: Duration
}
/** State that no row has touched for `ttl` of event time is forgotten. Without it, state of a key stays as long as the job. */
export interface TtlOptions {
  readonly ttl?: Duration
}
export interface MapSinkOptions {
  /** Default 'atOnce'. With 'onCheckpoint' rows are in the map when their checkpoint is committed, key by key; not without checkpoints. */
  readonly visible?: 'atOnce' | 'onCheckpoint'
}
export interface DedupeOptions<Row> {
  /** What must not come twice for a key: text, number or bytes. Default: the key itself. */
  readonly of?: (row: Row) => string | number | Uint8Array
  /** Of event time since the row that was let through; afterwards it may come again. */
  readonly ttl?: Duration
}
export interface TopNWindowOptions {
  /** The first n of each window, when it closes; without it, a ranking that is always present. */
  readonly window: FixedWindowSpec
}
export interface Ranking<K, Row> {
  readonly key: K
  /** From 1. */
  readonly rank: number
  readonly row: Row
}

export type Required<Row, F extends keyof Row> = Row & { readonly [P in F]-?: Exclude<Row[P], undefined | null> }
export type TailOf<K extends readonly unknown[]> = K extends readonly [unknown, ...infer T] ? readonly [...T] : never

/** What a stage emits cannot be inferred from calls of ctx.emit in a body: it is declared by this token or by a schema. */
export interface Emits<Out> {
  readonly kind: 'row'
  readonly '~out'?: (out: Out) => Out
}

export function row<Out>(): Emits<Out> {
  return { kind: 'row' }
}

export interface ProcessContext<K, S, Out> {
  readonly key: K
  /** The key's state: change it in place or assign it. Plain data: objects, arrays, Map, Set, Date, bytes, numbers, strings. Assigning undefined forgets the key. */
  state: S
  /** The event's time, or the time that the timer was set for. Of a wall timer: the earliest moment that is not late. */
  readonly eventTimeMs: number
  /** No event with this time or an earlier one will follow. -Infinity: not known yet; Infinity: the input has ended. */
  readonly watermarkMs: number
  emit(out: Out): void
  /** One timer per name and key: a second call moves it. It fires when the watermark reaches its time, at once if it has. At the end of the input all fire. */
  setTimer(name: string, atEventTimeMs: number): void
  clearTimer(name: string): void
  /** What the wall clock shows. Results that depend on it are other ones when the job is run again. */
  readonly wallTimeMs: number
  /**
   * One timer per name and key on the wall clock, saved with checkpoints: one whose moment passes while the job is down fires when it is
   * up again. At the end of the input those that are left fire once, and none can be set any more.
   */
  setWallTimer(name: string, atWallTimeMs: number): void
  clearWallTimer(name: string): void
}

export interface ProcessSpec<K, Row, S, Out> {
  readonly emits?: Emits<Out> | Schema<Out>
  /** The state of a key that is seen for the first time. */
  readonly state: () => S
  /**
   * The state of one key in its present shape, of what a savepoint has for it: called once for every key when a job starts from one,
   * whatever code has written it. Tell new from old by its looks.
   */
  readonly upgrade?: (old: unknown) => S
  onEvent(ctx: ProcessContext<K, S, Out>, row: Row): undefined | void
  onTimer?(ctx: ProcessContext<K, S, Out>, timer: string): undefined | void
  onWallTimer?(ctx: ProcessContext<K, S, Out>, timer: string): undefined | void
  /** A key that had no event for so long, by event time, is forgotten (at the latest an eighth later). Without it state stays as long as the job. */
  readonly ttl?: Duration
}

export interface Stage<Row> {
  map<R>(name: string, fn: (row: Row) => R): Stage<R>
  filter<R extends Row>(name: string, keep: (row: Row) => row is R): Stage<R>
  filter(name: string, keep: (row: Row) => boolean): Stage<Row>
  /** Drops rows in which one of the fields is missing, undefined or null, and says so in the type. */
  require<const F extends keyof Row>(name: string, ...fields: readonly F[]): RequireStage<Required<Row, F>, Row>
  flatMap<R>(name: string, fn: (row: Row) => readonly R[]): Stage<R>
  /** Sets the rows aside for which the function is true: `.aside(name)` gives them, this stage the others. */
  sideOutput<A extends Row>(name: string, isAside: (row: Row) => row is A): SideOutputStage<Exclude<Row, A>, A>
  sideOutput(name: string, isAside: (row: Row) => boolean): SideOutputStage<Row, Row>
  merge<R>(name: string, other: Stage<R>): Stage<Row | R>
  /** Writes some of the rows to the job's log, and hands all of them on. */
  log(name: string, options?: LogOptions<Row>): Stage<Row>
  /** Reads the entry of a key that the row names, wherever it lives: a read over the network, where `enrich` is a local one. Rows keep their order. */
  lookup<T extends AnyKey, V, R>(
    name: string,
    map: MapRef<T, V, never>,
    key: (row: Row) => KeyOf<T>,
    join: (row: Row, value: V | undefined) => R,
    options?: AsyncOptions,
  ): Stage<R>
  /** User code that answers later, for so many rows at a time. It may be called more than once for a row: after a failure, a time-out, a restart. */
  mapAsync<R>(name: string, fn: (row: Row, call: AsyncCall) => Promise<R>, options?: MapAsyncOptions): Stage<R>
  /** Sends each row to the shard that owns its key. */
  keyBy<S extends AnyKey>(name: string, space: S, key: (row: Row) => KeyOf<S>): KeyedStage<S, Row>
  /** Writes the rows elsewhere: `filesSink`, `collect`, or one of `defineSink`. */
  sink(name: string, to: Sink<Row>): void
}

export interface SideOutputStage<Row, Aside> extends Stage<Row> {
  /** The rows that were set aside, as a stage of their own. */
  aside(name: string): Stage<Aside>
}

export interface RequireStage<Row, Rejected> extends Stage<Row> {
  /** The dropped rows, as a stage of their own. */
  rejected(name: string): Stage<Rejected>
}

export interface KeyedStage<S extends AnyKey, Row> {
  map<R>(name: string, fn: (row: Row, key: KeyOf<S>) => R): KeyedStage<S, R>
  filter<R extends Row>(name: string, keep: (row: Row) => row is R): KeyedStage<S, R>
  filter(name: string, keep: (row: Row, key: KeyOf<S>) => boolean): KeyedStage<S, Row>
  require<const F extends keyof Row>(name: string, ...fields: readonly F[]): KeyedRequireStage<S, Required<Row, F>, Row>
  flatMap<R>(name: string, fn: (row: Row, key: KeyOf<S>) => readonly R[]): KeyedStage<S, R>
  /** Sets the rows aside for which the function is true: `.aside(name)` gives them, this stage the others. */
  sideOutput<A extends Row>(name: string, isAside: (row: Row, key: KeyOf<S>) => row is A): KeyedSideOutputStage<S, Exclude<Row, A>, A>
  sideOutput(name: string, isAside: (row: Row, key: KeyOf<S>) => boolean): KeyedSideOutputStage<S, Row, Row>
  merge<R>(name: string, other: KeyedStage<NoInfer<S>, R>): KeyedStage<S, Row | R>
  /** Writes some of the rows to the job's log, and hands all of them on. */
  log(name: string, options?: LogOptions<Row>): KeyedStage<S, Row>
  /** Reads the entry of a key that the row names, wherever it lives: a read over the network, where `enrich` is a local one. Rows keep their order. */
  lookup<T extends AnyKey, V, R>(
    name: string,
    map: MapRef<T, V, never>,
    key: (row: Row, key: KeyOf<S>) => KeyOf<T>,
    join: (row: Row, value: V | undefined) => R,
    options?: AsyncOptions,
  ): KeyedStage<S, R>
  /**
   * User code that answers later, for so many rows at a time; the key stays. It may be called more than once for a row: after a failure,
   * a time-out, a restart. With `ordered: false` rows of one key may overtake each other.
   */
  mapAsync<R>(name: string, fn: (row: Row, call: AsyncCall, key: KeyOf<S>) => Promise<R>, options?: MapAsyncOptions): KeyedStage<S, R>
  keyBy<T extends AnyKey>(name: string, space: T, key: (row: Row) => KeyOf<T>): KeyedStage<T, Row>
  /** As keyBy, for a stage that has a key already. */
  rekey<T extends AnyKey>(name: string, space: T, key: (row: Row, key: KeyOf<S>) => KeyOf<T>): KeyedStage<T, Row>
  /** Reads the map's entry of the stage's own key: a local, synchronous read. The value is shared and read-only. */
  enrich<V, R>(name: string, map: MapRef<NoInfer<S>, V, never>, join: (row: Row, value: V | undefined) => R): KeyedStage<S, R>
  /**
   * One row per key and window, when the watermark has passed its end; its event time is windowEnd - 1. Rows that come after their
   * window has closed are late: counted, and given by `.late(name)`.
   */
  window<const A extends Aggregates<Row>, const O extends WindowOptions = { readonly early?: never }>(
    name: string,
    spec: TimeWindowSpec,
    aggregates: A,
    options?: O & WindowOptions,
  ): WindowStage<S, Row, Windowed<KeyOf<S>, ResultOf<A> & EarlyMark<O>>>
  /** One row per key and so many rows; windowStart is the earliest of their times, windowEnd 1 ms behind the latest. */
  window<const A extends Aggregates<Row>>(
    name: string,
    spec: CountWindowSpec,
    aggregates: A,
  ): KeyedStage<S, Windowed<KeyOf<S>, ResultOf<A>>>
  /** Aggregates since the start of the job; one row, the new values, per input row. */
  aggregate<const A extends Aggregates<Row>>(name: string, aggregates: A): KeyedStage<S, { readonly key: KeyOf<S> } & ResultOf<A>>
  /**
   * A value per key: its first row, then what `reduce` makes of the value and each further row; one row, the new value, per input row.
   * Values are shared with the rows handed on: `reduce` returns a new one.
   */
  reduce(name: string, reduce: (value: Row, row: Row, key: KeyOf<S>) => Row, options?: TtlOptions): KeyedStage<S, Row>
  /**
   * Lets the first row of a key through, or, with `of`, the first with each value of a key. With a `ttl` a row so far behind the
   * watermark that its first may be forgotten is late: nobody can say whether it is the first.
   */
  dedupe(name: string, options: DedupeOptions<Row> & { readonly ttl: Duration }): LateStage<S, Row, Row>
  dedupe(name: string, options?: DedupeOptions<Row>): KeyedStage<S, Row>
  /** The first n rows of each window by a comparison (negative: a comes first), with ranks from 1, when the window closes. */
  topN(
    name: string,
    n: number,
    compare: (a: Row, b: Row) => number,
    options: TopNWindowOptions,
  ): LateStage<S, Row, Windowed<KeyOf<S>, { readonly rank: number; readonly row: Row }>>
  /**
   * The first n rows of each key, always present: a row that gets a rank gives each rank that it changes, from its own down. A sink
   * into a map by (key, rank) holds the ranking. Of equal rows the earlier comes first.
   */
  topN(name: string, n: number, compare: (a: Row, b: Row) => number, options?: TtlOptions): KeyedStage<S, Ranking<KeyOf<S>, Row>>
  /** Every row with every row of the other stage that has its key and falls into the same window, when the window closes. */
  joinWindow<R, J, const W extends FixedWindowSpec, const T extends JoinType = 'inner'>(
    name: string,
    other: KeyedStage<NoInfer<S>, R>,
    options: JoinWindowOptions<W, T>,
    join: (left: LeftOf<Row, NoInfer<T>>, right: RightOf<R, NoInfer<T>>, window: JoinedWindow<KeyOf<S>>) => J,
  ): LateStage<S, Row | R, J>
  /**
   * Every row with every row of the other stage that has its key and a time from its own - before to its own + after, both included. A
   * pair comes when its second row does; a row without partner when none can follow any more.
   */
  joinInterval<R, J, const T extends JoinType = 'inner'>(
    name: string,
    other: KeyedStage<NoInfer<S>, R>,
    options: JoinIntervalOptions<T>,
    join: (left: LeftOf<Row, NoInfer<T>>, right: RightOf<R, NoInfer<T>>) => J,
  ): LateStage<S, Row | R, J>
  /** User code with state per key and timers, on event time and on the wall clock. */
  process<St, Out = never>(name: string, spec: ProcessSpec<KeyOf<S>, Row, St, Out>): KeyedStage<S, Out>
  /** Writes each row under the stage's key; of several rows for one key the last wins. */
  sink(name: string, to: MapRef<NoInfer<S>, unknown, Row>, options?: MapSinkOptions): void
  /** A tuple map placed by this stage's key: the other elements come from the row; the value is shaped by `.map` before. */
  sink<N extends string, K extends readonly unknown[]>(
    name: string,
    to: MapRef<TupleKeySpace<N, NoInfer<S>, K>, unknown, Row>,
    rest: (row: Row) => TailOf<NoInfer<K>>,
    options?: MapSinkOptions,
  ): void
  /** Writes the rows elsewhere: `filesSink`, `collect`, or one of `defineSink`. */
  sink(name: string, to: Sink<Row>): void
}

export interface KeyedSideOutputStage<S extends AnyKey, Row, Aside> extends KeyedStage<S, Row> {
  aside(name: string): KeyedStage<S, Aside>
}

export interface KeyedRequireStage<S extends AnyKey, Row, Rejected> extends KeyedStage<S, Row> {
  rejected(name: string): KeyedStage<S, Rejected>
}

/** A stage for which a row can come too late. */
export interface LateStage<S extends AnyKey, In, Out> extends KeyedStage<S, Out> {
  /** The rows that came too late, as a stage of their own: after their window had closed, or when partners may be gone. */
  late(name: string): KeyedStage<S, In>
}

export type WindowStage<S extends AnyKey, In, Out> = LateStage<S, In, Out>

export interface EventTimeOptions {
  /** How much earlier than the latest event an event may still come; default '0s'. */
  readonly outOfOrderness?: Duration
  /** A split without events for so long no longer holds event time back; default: it always does. */
  readonly idleAfter?: Duration
}

export interface SourceStage<Row> extends Stage<Row> {
  /** Milliseconds since the epoch of a row. Without it the time of a row is when it was read, and windows are refused. */
  eventTime(at: (row: Row) => number, options?: EventTimeOptions): Stage<Row>
}

export interface Flow {
  source<Row>(name: string, source: Source<Row>): SourceStage<Row>
  map<S extends AnyKey, V>(name: string, key: S, value: Schema<V>): MapRef<S, V>
  map<S extends AnyKey>(name: string, key: S): MapRef<S, unknown, unknown>
}
