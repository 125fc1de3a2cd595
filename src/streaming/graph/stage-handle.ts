/** One stage while a job is built: the methods behind every stage type of stage-types.ts, checked at run time too. */
import { formatKeyCodec } from '../../keys/key-codec.ts'
import type { AnyKey } from '../../keys/key-space.ts'
import type { Aggregates } from './aggregate.ts'
import { asyncLimits, logSpec } from './async-options.ts'
import type { FlowBuilder } from './flow-builder.ts'
import type { KeyDescription } from './job-graph.ts'
import { isSchema } from '../../base/schema.ts'
import { isSink } from './sink-descriptors.ts'
import { isEnd } from './stage-spec.ts'
import type { AsyncFunction, Compare, RowFunction, SinkVisibility, StageNode, StageSpec } from './stage-spec.ts'
import type { JoinType, ProcessSpec } from './stage-types.ts'
import { type FixedWindowSpec, isWindowSpec, windowFields, windowProblem, type WindowSpec } from './window-spec.ts'

export type KeyLike = AnyKey & { readonly first?: KeyLike }

/** A ranking is one value of state, changed as a whole. */
const topNMax = 10_000

type Options = Readonly<Record<string, unknown>>

export class StageHandle {
  readonly #flow: FlowBuilder
  readonly #index: number

  constructor(flow: FlowBuilder, index: number) {
    this.#flow = flow
    this.#index = index
  }

  eventTime(at: unknown, options: { outOfOrderness?: unknown; idleAfter?: unknown } = {}, ...more: unknown[]): this {
    const { name } = this.#node
    const flow = this.#flow
    flow.options(name, options, 'eventTime', ['outOfOrderness', 'idleAfter'])
    flow.nothingMore(name, more, 'eventTime takes a function and options')
    flow.stampEventTime(this.#index, {
      at: flow.function<(row: unknown) => unknown>(name, at, 'eventTime'),
      outOfOrdernessMs: options.outOfOrderness === undefined ? 0 : flow.duration(name, options.outOfOrderness, 'outOfOrderness'),
      idleAfterMs: options.idleAfter === undefined ? undefined : flow.duration(name, options.idleAfter, 'idleAfter'),
    })
    return this
  }

  map(name: string, fn: unknown): StageHandle {
    return this.#then(name, { kind: 'map', fn: this.#flow.function<RowFunction>(name, fn, 'map') })
  }

  filter(name: string, keep: unknown): StageHandle {
    return this.#then(name, { kind: 'filter', fn: this.#flow.function<RowFunction>(name, keep, 'filter') })
  }

  flatMap(name: string, fn: unknown): StageHandle {
    return this.#then(name, { kind: 'flatMap', fn: this.#flow.function<RowFunction>(name, fn, 'flatMap') })
  }

  require(name: string, ...fields: unknown[]): StageHandle {
    if (fields.length === 0 || fields.some(field => typeof field !== 'string' || field === '')) {
      throw this.#flow.refusal(name, 'require wants the names of at least one field')
    }
    return this.#then(name, { kind: 'require', fields: fields as string[] })
  }

  rejected(name: string): StageHandle {
    if (this.#node.spec.kind !== 'require')
      throw this.#flow.refusal(name, `only a require stage has rejected rows, "${this.#node.name}" is none`)
    return this.#sideOutput(name, 'rejected')
  }

  /** The grid has no replicated maps, so there is nothing that every shard could join with. */
  broadcastJoin(name: string): never {
    throw this.#flow.refusal(name, 'broadcast joins need a replicated map, which there is none of yet: key the rows and use enrich')
  }

  sideOutput(name: string, isAside: unknown, ...more: unknown[]): StageHandle {
    this.#flow.nothingMore(name, more, 'sideOutput takes a name and a function')
    return this.#then(name, { kind: 'sideOutput', fn: this.#flow.function<RowFunction>(name, isAside, 'sideOutput') })
  }

  aside(name: string): StageHandle {
    if (this.#node.spec.kind !== 'sideOutput')
      throw this.#flow.refusal(name, `only a sideOutput stage sets rows aside, "${this.#node.name}" is none`)
    return this.#sideOutput(name, 'aside')
  }

  late(name: string): StageHandle {
    if (!hasLateRows(this.#node.spec))
      throw this.#flow.refusal(name, `only windows of time, joins and dedupe have late rows, "${this.#node.name}" is none of them`)
    return this.#sideOutput(name, 'late')
  }

  merge(name: string, other: unknown, ...more: unknown[]): StageHandle {
    this.#flow.nothingMore(name, more, 'merge takes a name and a stage')
    return this.#with(name, 'merge', other, { kind: 'merge' })
  }

  keyBy(name: string, space: unknown, key: unknown, ...more: unknown[]): StageHandle {
    this.#flow.nothingMore(name, more, 'keyBy takes a name, a key space and a function')
    return this.#exchange(name, 'keyBy', space, key)
  }

  rekey(name: string, space: unknown, key: unknown, ...more: unknown[]): StageHandle {
    this.#flow.nothingMore(name, more, 'rekey takes a name, a key space and a function')
    this.#key(name, 'rekey')
    return this.#exchange(name, 'rekey', space, key)
  }

  enrich(name: string, map: unknown, join: unknown): StageHandle {
    const { name: mapName, key } = this.#flow.mapOf(name, map)
    const mine = this.#key(name, 'enrich')
    if (key.name !== mine.space) {
      throw this.#flow.refusal(
        name,
        `map "${mapName}" has key space "${key.name}", the stage has "${mine.space}": rekey it to read that map locally`,
      )
    }
    const joinRows = this.#flow.function<(row: unknown, value: unknown) => unknown>(name, join, 'enrich')
    return this.#then(name, { kind: 'enrich', map: { map: mapName, keySpace: key.name, keyCodec: key.codec }, join: joinRows })
  }

  lookup(name: string, map: unknown, key: unknown, join: unknown, options: Options = {}, ...more: unknown[]): StageHandle {
    const flow = this.#flow
    flow.nothingMore(name, more, 'lookup takes a name, a map, two functions and options')
    const { name: mapName, key: space } = flow.mapOf(name, map)
    return this.#then(name, {
      kind: 'lookup',
      map: { map: mapName, keySpace: space.name, keyCodec: space.codec },
      key: flow.function<RowFunction>(name, key, 'the function that gives the key'),
      join: flow.function<(row: unknown, value: unknown) => unknown>(name, join, 'lookup'),
      limits: asyncLimits(flow, name, 'lookup', options),
    })
  }

  mapAsync(name: string, fn: unknown, options: Options = {}, ...more: unknown[]): StageHandle {
    const flow = this.#flow
    flow.nothingMore(name, more, 'mapAsync takes a name, a function and options')
    if (typeof fn !== 'function') throw flow.refusal(name, 'mapAsync must be a function')
    return this.#then(name, {
      kind: 'mapAsync',
      fn: fn as AsyncFunction,
      limits: asyncLimits(flow, name, 'mapAsync', options),
    })
  }

  log(name: string, options: Options = {}, ...more: unknown[]): StageHandle {
    this.#flow.nothingMore(name, more, 'log takes a name and options')
    return this.#then(name, { kind: 'log', ...logSpec(this.#flow, name, options) })
  }

  window(name: string, window: unknown, aggregates: unknown, options: Options = {}, ...more: unknown[]): StageHandle {
    const flow = this.#flow
    flow.nothingMore(name, more, 'window takes a name, a window, aggregates and options')
    const spec = this.#windowOf(name, window)
    const isCount = spec.kind === 'count'
    flow.options(name, options, 'its options', isCount ? [] : ['early', 'allowedLateness'])
    this.#key(name, 'window')
    if (!isCount) this.#eventTime(name, 'a window')
    else if (spec.ttlMs !== undefined) this.#eventTime(name, 'a ttl')
    return this.#then(name, {
      kind: 'window',
      window: spec,
      aggregates: this.#aggregates(name, aggregates, ['key', 'windowStart', 'windowEnd', 'early']),
      earlyMs: this.#length(name, options['early'], 'early'),
      latenessMs: this.#lateness(name, options),
    })
  }

  reduce(name: string, reduce: unknown, options: Options = {}, ...more: unknown[]): StageHandle {
    const flow = this.#flow
    flow.nothingMore(name, more, 'reduce takes a name, a function and options')
    flow.options(name, options, 'reduce', ['ttl'])
    this.#key(name, 'reduce')
    return this.#then(name, { kind: 'reduce', reduce: flow.function(name, reduce, 'reduce'), ttlMs: this.#ttl(name, options['ttl']) })
  }

  dedupe(name: string, options: Options = {}, ...more: unknown[]): StageHandle {
    const flow = this.#flow
    flow.nothingMore(name, more, 'dedupe takes a name and options')
    flow.options(name, options, 'dedupe', ['of', 'ttl'])
    this.#key(name, 'dedupe')
    const of = options['of'] === undefined ? undefined : flow.function<(row: unknown) => unknown>(name, options['of'], 'of')
    return this.#then(name, { kind: 'dedupe', of, ttlMs: this.#ttl(name, options['ttl']) })
  }

  topN(name: string, n: unknown, compare: unknown, options: Options = {}, ...more: unknown[]): StageHandle {
    const flow = this.#flow
    flow.nothingMore(name, more, 'topN takes a name, a number, a comparison and options')
    flow.options(name, options, 'topN', ['window', 'ttl'])
    this.#key(name, 'topN')
    if (typeof n !== 'number' || !Number.isSafeInteger(n) || n < 1 || n > topNMax)
      throw flow.refusal(name, `topN keeps ${String(n)} rows, a whole number from 1 to ${topNMax} is wanted`)
    const { window: given, ttl } = options
    if (given !== undefined && ttl !== undefined)
      throw flow.refusal(name, 'topN of a window has no ttl: what it keeps goes with the window')
    const window = given === undefined ? undefined : this.#fixedWindow(name, given)
    return this.#then(name, {
      kind: 'topN',
      n,
      compare: flow.function<Compare>(name, compare, 'topN'),
      window,
      ttlMs: this.#ttl(name, ttl),
    })
  }

  joinWindow(name: string, other: unknown, options: Options, join: unknown, ...more: unknown[]): StageHandle {
    const flow = this.#flow
    flow.nothingMore(name, more, 'joinWindow takes a name, a stage, options and a function')
    flow.options(name, options, 'joinWindow', ['window', 'type'])
    return this.#join(name, other, {
      kind: 'joinWindow',
      type: this.#joinType(name, options),
      window: this.#fixedWindow(name, options['window']),
      join: flow.function(name, join, 'joinWindow'),
    })
  }

  joinInterval(name: string, other: unknown, options: Options, join: unknown, ...more: unknown[]): StageHandle {
    const flow = this.#flow
    flow.nothingMore(name, more, 'joinInterval takes a name, a stage, options and a function')
    flow.options(name, options, 'joinInterval', ['before', 'after', 'type', 'allowedLateness'])
    return this.#join(name, other, {
      kind: 'joinInterval',
      type: this.#joinType(name, options),
      beforeMs: flow.duration(name, options['before'], 'before'),
      afterMs: flow.duration(name, options['after'], 'after'),
      latenessMs: this.#lateness(name, options),
      join: flow.function(name, join, 'joinInterval'),
    })
  }

  aggregate(name: string, aggregates: unknown): StageHandle {
    this.#key(name, 'aggregate')
    return this.#then(name, { kind: 'aggregate', aggregates: this.#aggregates(name, aggregates, ['key']) })
  }

  process(name: string, given: unknown): StageHandle {
    this.#key(name, 'process')
    if (typeof given !== 'object' || given === null)
      throw this.#flow.refusal(name, 'process wants { state, onEvent, onTimer?, onWallTimer?, upgrade?, emits? }')
    // An instance of a class may have fields of its own beside what is called.
    if (Object.getPrototypeOf(given) === Object.prototype)
      this.#flow.options(name, given, 'process', ['state', 'onEvent', 'onTimer', 'onWallTimer', 'upgrade', 'emits', 'ttl'])
    const spec = given as ProcessSpec<unknown, unknown, unknown, unknown>
    this.#flow.function(name, spec.state, 'state')
    this.#flow.function(name, spec.onEvent, 'onEvent')
    if (spec.upgrade !== undefined) this.#flow.function(name, spec.upgrade, 'upgrade')
    if (spec.onTimer !== undefined) this.#flow.function(name, spec.onTimer, 'onTimer')
    if (spec.onWallTimer !== undefined) this.#flow.function(name, spec.onWallTimer, 'onWallTimer')
    return this.#then(name, {
      kind: 'process',
      process: spec,
      emits: isSchema(spec.emits) ? spec.emits : undefined,
      ttlMs: this.#ttl(name, spec.ttl),
    })
  }

  sink(name: string, to: unknown, third?: unknown, fourth?: unknown, ...more: unknown[]): void {
    this.#flow.nothingMore(name, more, 'a sink takes a name, a map, the function that gives the other elements of its key, and options')
    const rest = typeof third === 'object' ? undefined : third
    const options = rest === undefined ? (fourth ?? third ?? {}) : (fourth ?? {})
    if (isSink(to)) {
      if (third !== undefined || fourth !== undefined)
        throw this.#flow.refusal(name, 'only a sink into a map has keys with other elements, or options')
      this.#then(name, { kind: 'output', sink: to })
      return
    }
    const map = this.#flow.mapOf(name, to)
    const mine = this.#key(name, 'sink')
    const space: KeyLike = map.key
    const direct = space.name === mine.space
    if (!direct && space.first?.name !== mine.space) {
      const wanted = space.first === undefined ? `"${space.name}"` : `"${space.name}", placed by "${space.first.name}"`
      throw this.#flow.refusal(name, `map "${map.name}" has key space ${wanted}, the stage has "${mine.space}": rekey it before the sink`)
    }
    if (direct && rest !== undefined)
      throw this.#flow.refusal(name, `map "${map.name}" has the stage's own key: there are no other elements to give`)
    const restOf = direct
      ? undefined
      : this.#flow.function<(row: unknown) => unknown>(name, rest, 'the function that gives the other elements of the key')
    const description = { map: map.name, keySpace: space.name, keyCodec: space.codec }
    this.#then(name, { kind: 'sink', map: description, value: map.value, rest: restOf, visible: this.#visible(name, options) })
  }

  #visible(name: string, options: unknown): SinkVisibility {
    this.#flow.options(name, options, 'a sink', ['visible'])
    const { visible = 'atOnce' } = options as { readonly visible?: unknown }
    if (visible !== 'atOnce' && visible !== 'onCheckpoint')
      throw this.#flow.refusal(name, `visible is ${JSON.stringify(visible)}, "atOnce" or "onCheckpoint" is wanted`)
    return visible
  }

  get #node(): StageNode {
    return this.#flow.node(this.#index)
  }

  /** A stage behind this one that keeps its key. */
  #then(name: string, spec: StageSpec): StageHandle {
    if (isEnd(this.#node.spec.kind)) throw this.#flow.refusal(name, `nothing can follow the sink "${this.#node.name}"`)
    return this.#flow.add(name, [this.#index], this.#node.key, spec)
  }

  /** A stage behind this one and another, which have the same key. */
  #with(name: string, what: string, other: unknown, spec: StageSpec): StageHandle {
    if (!(other instanceof StageHandle) || other.#flow !== this.#flow)
      throw this.#flow.refusal(name, `${what} wants another stage of the same job`)
    const mine = this.#node
    const its = other.#node
    const sink = [mine, its].find(node => isEnd(node.spec.kind))
    if (sink !== undefined) throw this.#flow.refusal(name, `nothing can follow the sink "${sink.name}"`)
    if (mine.key?.space !== its.key?.space) {
      throw this.#flow.refusal(name, `"${mine.name}" has ${keyText(mine.key)} and "${its.name}" has ${keyText(its.key)}: rekey one of them`)
    }
    return this.#flow.add(name, [this.#index, other.#index], mine.key, spec)
  }

  #join(name: string, other: unknown, spec: StageSpec & { kind: 'joinWindow' | 'joinInterval' }): StageHandle {
    this.#key(name, spec.kind)
    this.#eventTime(name, 'a join')
    if (other instanceof StageHandle && other.#flow === this.#flow) other.#eventTime(name, 'a join')
    return this.#with(name, spec.kind, other, spec)
  }

  #joinType(name: string, { type = 'inner' }: Options): JoinType {
    if (type !== 'inner' && type !== 'left' && type !== 'outer')
      throw this.#flow.refusal(name, `a join is "inner", "left" or "outer", got ${JSON.stringify(type)}`)
    return type
  }

  #windowOf(name: string, window: unknown): WindowSpec {
    if (!isWindowSpec(window))
      throw this.#flow.refusal(name, 'a window is wanted: tumbling("1h"), sliding("1h", "5m"), session("30m") or countWindow(100)')
    const fields = window.kind === 'count' ? [...windowFields.count, 'ttlMs'] : windowFields[window.kind]
    this.#flow.options(name, window, 'its window', ['kind', ...fields])
    const problem = windowProblem(window)
    if (problem !== undefined) throw this.#flow.refusal(name, `its window: ${problem}`)
    return window
  }

  #fixedWindow(name: string, window: unknown): FixedWindowSpec {
    const spec = this.#windowOf(name, window)
    if (spec.kind !== 'tumbling' && spec.kind !== 'sliding')
      throw this.#flow.refusal(name, `a window of a fixed size is wanted here, tumbling or sliding, got ${spec.kind}`)
    this.#eventTime(name, 'a window')
    return spec
  }

  #eventTime(name: string, what: string): void {
    if (this.#node.hasEventTime) return
    throw this.#flow.refusal(name, `${what} needs event time: add .eventTime(row => ...) to every source before it`)
  }

  /** A time to live, of event time. */
  #ttl(name: string, text: unknown): number | undefined {
    const ms = this.#length(name, text, 'ttl')
    if (ms !== undefined) this.#eventTime(name, 'a ttl')
    return ms
  }

  #length(name: string, text: unknown, what: string): number | undefined {
    if (text === undefined) return undefined
    const ms = this.#flow.duration(name, text, what)
    if (ms < 1) throw this.#flow.refusal(name, `${what} is "${String(text)}", at least "1ms" is wanted`)
    return ms
  }

  #lateness(name: string, { allowedLateness }: Options): number {
    return allowedLateness === undefined ? 0 : this.#flow.duration(name, allowedLateness, 'allowedLateness')
  }

  #sideOutput(name: string, kind: 'rejected' | 'late' | 'aside'): StageHandle {
    return this.#flow.add(name, [this.#index], this.#node.key, { kind })
  }

  #exchange(name: string, kind: 'keyBy' | 'rekey', space: unknown, key: unknown): StageHandle {
    const description = this.#flow.keyOf(name, space)
    const fn = this.#flow.function<RowFunction>(name, key, kind)
    return this.#flow.add(name, [this.#index], description, { kind, codec: description.codec, fn })
  }

  #key(name: string, what: string): KeyDescription {
    const { key, name: before } = this.#node
    if (key === undefined) throw this.#flow.refusal(name, `${what} needs a key, and "${before}" has none: add keyBy before it`)
    return key
  }

  #aggregates(name: string, aggregates: unknown, reserved: readonly string[]): Aggregates<never> {
    if (typeof aggregates !== 'object' || aggregates === null || Object.keys(aggregates).length === 0) {
      throw this.#flow.refusal(name, 'at least one aggregate is wanted: { n: count(), spend: sum(row => row.amount) }')
    }
    for (const [field, aggregate] of Object.entries(aggregates as Aggregates<never>)) {
      if (reserved.includes(field))
        throw this.#flow.refusal(name, `an aggregate cannot be named "${field}": the result has a field of that name`)
      if (aggregate?.kind !== 'aggregate')
        throw this.#flow.refusal(
          name,
          `"${field}" is no aggregate: sum, count, countDistinct, max, min, avg and those of defineAggregate are`,
        )
      if (aggregate.operation !== 'count' && aggregate.operation !== 'custom')
        this.#flow.function(name, aggregate.of, `aggregate "${field}"`)
    }
    return aggregates as Aggregates<never>
  }
}

function hasLateRows(spec: StageSpec): boolean {
  switch (spec.kind) {
    case 'window':
      return spec.window.kind !== 'count'
    case 'topN':
      return spec.window !== undefined
    case 'dedupe':
      return spec.ttlMs !== undefined
    default:
      return spec.kind === 'joinWindow' || spec.kind === 'joinInterval'
  }
}

const keyText = (key: KeyDescription | undefined): string =>
  key === undefined ? 'no key' : `key space "${key.space}" (${formatKeyCodec(key.codec)})`
