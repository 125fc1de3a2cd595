/**
 * The builder behind `Flow` and the stages. The types of stage-types.ts refuse most mistakes when a job is compiled; this
 * refuses them for everybody when it is built, naming job and stage.
 */
import { parseDuration } from '../../base/duration.ts'
import { invalidArgument, type NearstateError } from '../../base/errors.ts'
import { formatKeyCodec } from '../../keys/key-codec.ts'
import type { AnyKey } from '../../keys/key-space.ts'
import type { KeyDescription, MapDescription } from './job-graph.ts'
import { refuseAsync } from './refuse-async.ts'
import { isSchema } from '../../base/schema.ts'
import { type KeyLike, StageHandle } from './stage-handle.ts'
import type { EventTimeSpec, StageNode, StageSpec } from './stage-spec.ts'
import type { Flow, MapRef } from './stage-types.ts'
import { optionsProblem } from './unknown-options.ts'

const stageNameMax = 128
export const deadLettersStage = 'dead-letters'
export const deadLettersMap = (job: string): string => `${job}.dead-letters`

export class FlowBuilder {
  readonly job: string
  readonly #nodes: StageNode[] = []
  readonly #names = new Set<string>()
  readonly #maps = new Map<string, MapDescription>()
  readonly #spaces = new Map<string, string>()
  #finished = false

  constructor(job: string) {
    this.job = job
  }

  asFlow(): Flow {
    const flow = {
      source: (name: string, source: unknown, ...more: unknown[]): StageHandle => {
        this.nothingMore(name, more, 'source takes a name and a source')
        return this.#source(name, source)
      },
      map: (name: string, key: unknown, value: unknown, ...more: unknown[]): unknown => {
        this.nothingMore(name, more, 'flow.map takes a name, a key space and a schema')
        return this.#map(name, key, value)
      },
    }
    return flow as unknown as Flow
  }

  node(index: number): StageNode {
    return this.#nodes[index] as StageNode
  }

  refusal(stage: unknown, reason: string): NearstateError {
    return invalidArgument(`Cannot build job "${this.job}": stage ${JSON.stringify(stage)}: ${reason}`)
  }

  add(name: unknown, inputs: readonly number[], key: KeyDescription | undefined, spec: StageSpec): StageHandle {
    if (this.#finished) throw this.refusal(name, 'the build function has returned; stages are added while it runs')
    if (typeof name !== 'string' || name.trim() === '' || name.length > stageNameMax || /[\p{Cc}]/u.test(name)) {
      throw this.refusal(name, `a stage needs a name of 1 to ${stageNameMax} characters`)
    }
    if (this.#names.has(name)) throw this.refusal(name, 'another stage has this name; state and metrics hang on it, so it must be its own')
    this.#names.add(name)
    const hasEventTime = inputs.length > 0 && inputs.every(input => this.node(input).hasEventTime)
    this.#nodes.push({ index: this.#nodes.length, name, inputs, key, hasEventTime, spec })
    return new StageHandle(this, this.#nodes.length - 1)
  }

  /** Sets event time on a source stage that nothing reads yet. */
  stampEventTime(index: number, eventTime: EventTimeSpec): void {
    const node = this.node(index)
    if (node.spec.kind !== 'source') throw this.refusal(node.name, 'eventTime belongs to a source')
    if (node.spec.eventTime !== undefined) throw this.refusal(node.name, 'its event time is set already')
    if (this.#nodes.some(other => other.inputs.includes(index)))
      throw this.refusal(node.name, 'eventTime must come before the stages that read it')
    this.#nodes[index] = { ...node, hasEventTime: true, spec: { ...node.spec, eventTime } }
  }

  keyOf(stage: unknown, space: unknown): KeyDescription {
    if (!isKeySpace(space)) throw this.refusal(stage, 'a key space is wanted: defineKey(...) or defineTupleKey(...)')
    this.#agree(stage, space)
    return { space: space.name, codec: space.codec }
  }

  mapOf(stage: unknown, map: unknown): MapRef<AnyKey, unknown> {
    if (typeof map !== 'object' || map === null || !('kind' in map) || map.kind !== 'map') {
      throw this.refusal(stage, 'a map is wanted: flow.map(name, key space, schema)')
    }
    return map as MapRef<AnyKey, unknown>
  }

  function<F>(stage: unknown, fn: unknown, what: string): F {
    if (typeof fn !== 'function') throw this.refusal(stage, `${what} must be a function`)
    refuseAsync(fn, `Cannot build job "${this.job}": stage ${JSON.stringify(stage)}: ${what}`)
    return fn as F
  }

  options(stage: unknown, options: unknown, what: string, known: readonly string[]): void {
    const problem = optionsProblem(options, known)
    if (problem !== undefined) throw this.refusal(stage, `${what}: ${problem}`)
  }

  /** Refuses arguments beyond the last: an option that a stage does not have must not look as if it had. */
  nothingMore(stage: unknown, more: readonly unknown[], takes: string): void {
    if (more.some(argument => argument !== undefined)) throw this.refusal(stage, `${takes}, and nothing else`)
  }

  duration(stage: unknown, text: unknown, what: string): number {
    if (typeof text !== 'string') throw this.refusal(stage, `${what} must be a duration such as "5s"`)
    return parseDuration(text, `${what} of stage "${String(stage)}"`)
  }

  /** The nodes, with the stage of the dead letters at the end where there may be some. */
  finish(deadLetters: boolean): readonly StageNode[] {
    if (this.#nodes.length === 0) throw invalidArgument(`Cannot build job "${this.job}": it has no stages`)
    if (deadLetters) {
      const map = deadLettersMap(this.job)
      const description: MapDescription = { map, keySpace: map, keyCodec: 'string' }
      this.#agreeOnMap(deadLettersStage, description)
      this.add(deadLettersStage, [], { space: map, codec: 'string' }, { kind: 'deadLetters', map: description })
    }
    this.#finished = true
    return this.#nodes
  }

  #source(name: string, source: unknown): StageHandle {
    if (typeof source !== 'object' || source === null || !('kind' in source) || source.kind !== 'source') {
      throw this.refusal(name, 'a source is wanted: files({...}) or generator({...})')
    }
    const spec = { kind: 'source', source, eventTime: undefined } as StageSpec & { kind: 'source' }
    if (spec.source.decode !== undefined) this.function(name, spec.source.decode, 'the function that makes its rows')
    return this.add(name, [], undefined, spec)
  }

  #map(name: unknown, key: unknown, value: unknown): unknown {
    const what = `map ${JSON.stringify(name)}`
    const refuse = (reason: string): NearstateError => invalidArgument(`Cannot build job "${this.job}": ${what}: ${reason}`)
    if (typeof name !== 'string' || name === '') throw refuse('a map needs a name')
    if (name.startsWith('__')) throw refuse('names that begin with "__" belong to the system')
    if (!isKeySpace(key)) throw refuse('a key space is wanted: defineKey(...) or defineTupleKey(...)')
    if (value !== undefined && !isSchema(value)) throw refuse('the value is no Standard Schema')
    this.#agree(name, key)
    this.#agreeOnMap(name, { map: name, keySpace: key.name, keyCodec: key.codec })
    return { kind: 'map', name, key, value }
  }

  /** One name, one codec, within a job. */
  #agree(stage: unknown, space: KeyLike): void {
    const codec = formatKeyCodec(space.codec)
    const known = this.#spaces.get(space.name)
    if (known !== undefined && known !== codec) {
      throw this.refusal(stage, `key space "${space.name}" is ${codec} here and ${known} elsewhere in the job`)
    }
    this.#spaces.set(space.name, codec)
  }

  #agreeOnMap(stage: unknown, map: MapDescription): void {
    const known = this.#maps.get(map.map)
    if (known !== undefined && known.keySpace !== map.keySpace) {
      throw this.refusal(stage, `map "${map.map}" has key space "${map.keySpace}" here and "${known.keySpace}" elsewhere in the job`)
    }
    this.#maps.set(map.map, map)
  }
}

function isKeySpace(value: unknown): value is KeyLike {
  return typeof value === 'object' && value !== null && 'name' in value && typeof value.name === 'string' && 'codec' in value
}
