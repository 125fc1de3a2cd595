/** One stage while a job is built: the methods behind every stage type of stage-types.ts, checked at run time too. */
import { formatKeyCodec } from '../../keys/key-codec.ts'
import type { AnyKey } from '../../keys/key-space.ts'
import type { Aggregates } from './aggregate.ts'
import type { FlowBuilder } from './flow-builder.ts'
import type { KeyDescription } from './job-graph.ts'
import { isSchema } from '../../base/schema.ts'
import type { RowFunction, StageNode, StageSpec } from './stage-spec.ts'
import type { ProcessSpec } from './stage-types.ts'
import type { WindowSpec } from './window-spec.ts'

export type KeyLike = AnyKey & { readonly first?: KeyLike }

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

  late(name: string): StageHandle {
    if (this.#node.spec.kind !== 'window') throw this.#flow.refusal(name, `only a window has late rows, "${this.#node.name}" is none`)
    return this.#sideOutput(name, 'late')
  }

  merge(name: string, other: unknown): StageHandle {
    if (!(other instanceof StageHandle) || other.#flow !== this.#flow)
      throw this.#flow.refusal(name, 'merge wants another stage of the same job')
    const mine = this.#node
    const its = other.#node
    if (mine.key?.space !== its.key?.space) {
      throw this.#flow.refusal(name, `"${mine.name}" has ${keyText(mine.key)} and "${its.name}" has ${keyText(its.key)}: rekey one of them`)
    }
    return this.#flow.add(name, [this.#index, other.#index], mine.key, { kind: 'merge' })
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

  window(name: string, window: unknown, aggregates: unknown, ...more: unknown[]): StageHandle {
    const spec = window as Partial<WindowSpec> | null | undefined
    if (spec?.kind !== 'tumbling' || !Number.isSafeInteger(spec.sizeMs) || (spec.sizeMs ?? 0) < 1)
      throw this.#flow.refusal(name, 'a window is wanted: tumbling("1h")')
    this.#flow.options(name, spec, 'its window', ['kind', 'sizeMs'])
    this.#flow.nothingMore(name, more, 'window takes a name, a window and aggregates')
    const key = this.#key(name, 'window')
    if (!this.#node.hasEventTime) {
      throw this.#flow.refusal(name, 'a window needs event time: add .eventTime(row => ...) to every source before it')
    }
    const checked = this.#aggregates(name, aggregates, ['key', 'windowStart', 'windowEnd'])
    return this.#flow.add(name, [this.#index], key, { kind: 'window', window: spec as WindowSpec, aggregates: checked })
  }

  aggregate(name: string, aggregates: unknown): StageHandle {
    this.#key(name, 'aggregate')
    return this.#then(name, { kind: 'aggregate', aggregates: this.#aggregates(name, aggregates, ['key']) })
  }

  process(name: string, given: unknown): StageHandle {
    this.#key(name, 'process')
    if (typeof given !== 'object' || given === null) throw this.#flow.refusal(name, 'process wants { state, onEvent, onTimer?, emits? }')
    // An instance of a class may have fields of its own beside what is called.
    if (Object.getPrototypeOf(given) === Object.prototype)
      this.#flow.options(name, given, 'process', ['state', 'onEvent', 'onTimer', 'emits'])
    const spec = given as ProcessSpec<unknown, unknown, unknown, unknown>
    this.#flow.function(name, spec.state, 'state')
    this.#flow.function(name, spec.onEvent, 'onEvent')
    if (spec.onTimer !== undefined) this.#flow.function(name, spec.onTimer, 'onTimer')
    return this.#then(name, { kind: 'process', process: spec, emits: isSchema(spec.emits) ? spec.emits : undefined })
  }

  sink(name: string, to: unknown, rest?: unknown, ...more: unknown[]): void {
    this.#flow.nothingMore(name, more, 'a sink takes a name, a map and the function that gives the other elements of its key')
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
    this.#then(name, { kind: 'sink', map: description, value: map.value, rest: restOf })
  }

  get #node(): StageNode {
    return this.#flow.node(this.#index)
  }

  /** A stage behind this one that keeps its key. */
  #then(name: string, spec: StageSpec): StageHandle {
    if (this.#node.spec.kind === 'sink') throw this.#flow.refusal(name, `nothing can follow the sink "${this.#node.name}"`)
    return this.#flow.add(name, [this.#index], this.#node.key, spec)
  }

  #sideOutput(name: string, kind: 'rejected' | 'late'): StageHandle {
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
        throw this.#flow.refusal(name, `"${field}" is no aggregate: sum, count, countDistinct, max, min, avg are`)
      if (aggregate.operation !== 'count') this.#flow.function(name, aggregate.of, `aggregate "${field}"`)
    }
    return aggregates as Aggregates<never>
  }
}

const keyText = (key: KeyDescription | undefined): string =>
  key === undefined ? 'no key' : `key space "${key.space}" (${formatKeyCodec(key.codec)})`
