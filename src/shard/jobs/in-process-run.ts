/**
 * Runs a job to its end in this thread, over any number of virtual shards with maps of plain JavaScript: for tests and benchmarks.
 * Without a cluster, slices, or a network; the tasks, the exchange and its frames are the real ones.
 *
 * With `random`, what happens next (a unit of some shard, a frame arriving, a link draining, a unit cut off) is drawn from it,
 * so one seed is one interleaving.
 */
import { messageOf, NearstateError } from '../../base/errors.ts'
import type { ShardId } from '../../base/ids.ts'
import { type Random, randomInteger } from '../../base/random.ts'
import { encodeKey } from '../../keys/encode-key.ts'
import type { KeyCodec } from '../../keys/key-codec.ts'
import { partitionOfKey } from '../../keys/partition-of.ts'
import type { Assignment, StageProgress } from '../../streaming/assignment.ts'
import type { ExchangeLimits } from '../../streaming/exchange/edge.ts'
import { readFrame } from '../../streaming/exchange/frame.ts'
import { mapsOf } from '../../streaming/execution/plan.ts'
import { mergeStages, type TaskProfile } from '../../streaming/execution/progress.ts'
import { ShardTask } from '../../streaming/execution/shard-task.ts'
import { assignmentOf, layoutOf } from '../../streaming/graph/assignment-of.ts'
import { type BuiltJob, buildJob, type Job } from '../../streaming/graph/job.ts'
import type { LocalMap } from '../../streaming/ports.ts'
import type { SourceConnector } from '../../streaming/source.ts'
import { decodeValue, encodeValue } from '../../wire/value-codec.ts'

export interface InProcessOptions {
  readonly job: Job<unknown>
  readonly args?: unknown
  /** Default 1. */
  readonly shards?: number
  /** Default 240. */
  readonly partitions?: number
  readonly connectorOf: (kind: string) => SourceConnector
  /** What maps hold before the run; they are written to. */
  readonly maps?: MemoryMaps
  readonly limits?: Partial<ExchangeLimits>
  readonly random?: Random
  /** Chance that a unit of several rows is run and then treated as cut off. Needs `random` and a job that goes on after errors. */
  readonly cutOffChance?: number
  readonly profile?: TaskProfile
}

export interface InProcessResult {
  readonly maps: MemoryMaps
  /** Summed over the shards, by stage. */
  readonly stages: ReadonlyMap<string, StageProgress>
}

/** Maps by name, each a Map from the key's bytes (as text) to key and value. Refuses a partition that is not the key's. */
export class MemoryMaps {
  readonly #maps = new Map<string, Map<string, { readonly key: unknown; readonly value: unknown }>>()
  readonly #partitions: number

  constructor(partitions = 240) {
    this.#partitions = partitions
  }

  open(name: string, codec: KeyCodec): LocalMap {
    const entries = this.#of(name)
    const idOf = (partition: number, key: unknown): string => {
      const bytes = encodeKey(codec, key)
      const wanted = partitionOfKey(codec, bytes, 0, bytes.length, this.#partitions)
      if (wanted !== partition) throw new NearstateError('INTERNAL', `a key of partition ${wanted} was used in partition ${partition}`)
      return Buffer.from(bytes).toString('latin1')
    }
    return {
      get: (partition, key) => entries.get(idOf(partition, key))?.value,
      setEncoded: (partition, key, value) => void entries.set(idOf(partition, key), { key, value: decodeValue(value) }),
    }
  }

  /** Keys and values; a string key as it is, others as JSON. */
  entries(name: string): ReadonlyMap<string, unknown> {
    return new Map([...this.#of(name).values()].map(({ key, value }) => [typeof key === 'string' ? key : JSON.stringify(key), value]))
  }

  #of(name: string): Map<string, { readonly key: unknown; readonly value: unknown }> {
    let map = this.#maps.get(name)
    if (map === undefined) {
      map = new Map()
      this.#maps.set(name, map)
    }
    return map
  }
}

/** Rejects with what failed the job: a NearstateError whose message names the stage, or what user code threw. */
export async function runInProcess(options: InProcessOptions): Promise<InProcessResult> {
  const built = buildJob(options.job, options.args)
  const assignment = await assignmentFor(built, options)
  return new InProcessRun(built, assignment, options).toEnd()
}

async function assignmentFor(built: BuiltJob, options: InProcessOptions): Promise<Assignment> {
  const { shards = 1, partitions = 240 } = options
  const ids = Array.from({ length: shards }, (_, index) => `shard-${index}` as ShardId)
  const splits = built.graph.stages.flatMap(({ name, source }) =>
    source === undefined
      ? []
      : [
          options
            .connectorOf(source.connector)
            .listSplits(source.options)
            .then(list => [name, list] as const),
        ],
  )
  const state = {
    members: ids.map(id => ({ status: 'alive', shards: [{ id }] })),
    partitions: Array.from({ length: partitions }, (_, partition) => ({ primary: { shard: ids[partition % shards] as ShardId } })),
  }
  return assignmentOf(layoutOf({ version: 1, state }, built.graph.name), built.graph, Object.fromEntries(await Promise.all(splits)))
}

interface Link {
  readonly from: number
  readonly to: number
  readonly frames: Uint8Array[]
  full: boolean
}

class InProcessRun {
  readonly #built: BuiltJob
  readonly #options: InProcessOptions
  readonly #maps: MemoryMaps
  readonly #tasks: readonly ShardTask[]
  readonly #links: Link[] = []
  #nowMs = 0
  #ready: (() => void) | undefined

  constructor(built: BuiltJob, assignment: Assignment, options: InProcessOptions) {
    this.#built = built
    this.#options = options
    this.#maps = options.maps ?? new MemoryMaps(assignment.owners.length)
    const maps = new Map(mapsOf(built).map(({ map, keyCodec }) => [map, this.#maps.open(map, keyCodec)] as const))
    this.#tasks = assignment.shards.map((_, self) => this.#task(assignment, self, maps))
  }

  async toEnd(): Promise<InProcessResult> {
    const { random } = this.#options
    for (const task of this.#tasks) task.run(this.#nowMs)
    while (this.#tasks.some(task => task.state.kind === 'running')) {
      this.#nowMs += random === undefined ? 0 : 1
      const moved = random === undefined ? this.#everything() : this.#something(random)
      this.#throwFailure()
      if (!moved && this.#links.every(link => link.frames.length === 0)) await this.#untilReady()
    }
    this.#throwFailure()
    return { maps: this.#maps, stages: this.#stages() }
  }

  #task(assignment: Assignment, self: number, maps: ReadonlyMap<string, LocalMap>): ShardTask {
    const { limits, profile, connectorOf } = this.#options
    return new ShardTask({
      job: this.#built.graph.name,
      built: this.#built,
      attempt: 1,
      assignment,
      self,
      maps,
      codec: { encode: encodeValue, decode: decodeValue },
      send: (to, bytes) => this.#send(self, to, bytes),
      openSplit: (stage, split, position) => {
        const source = this.#built.graph.stages.find(({ name }) => name === stage)?.source
        return connectorOf(source?.connector ?? '').open(source?.options ?? {}, split, { onReady: () => this.#ready?.() }, position)
      },
      ...(limits === undefined ? {} : { limits }),
      ...(profile === undefined ? {} : { profile }),
    })
  }

  #send(from: number, to: number, bytes: Uint8Array): boolean {
    let link = this.#links.find(one => one.from === from && one.to === to)
    if (link === undefined) {
      link = { from, to, frames: [], full: false }
      this.#links.push(link)
    }
    link.frames.push(bytes)
    link.full ||= this.#options.random !== undefined && randomInteger(this.#options.random, 4) === 0
    return !link.full
  }

  /** A round in which every shard has its turn. True: something happened. */
  #everything(): boolean {
    let moved = false
    for (const task of this.#tasks) moved = this.#unit(task) || moved
    for (const link of this.#links) while (this.#deliver(link)) moved = true
    return moved
  }

  #something(random: Random): boolean {
    const choice = randomInteger(random, this.#tasks.length + this.#links.length)
    const task = this.#tasks[choice]
    if (task !== undefined) return this.#unit(task) || this.#tasks.some(other => this.#unit(other))
    const link = this.#links[choice - this.#tasks.length]
    return link !== undefined && this.#deliver(link)
  }

  #unit(task: ShardTask): boolean {
    const { random, cutOffChance = 0 } = this.#options
    const prepared = task.prepare(this.#nowMs, 1_700_000_000_000)
    // A shell may flush between choosing a unit and running it.
    if (random !== undefined && random.next() < 0.5) task.flush(this.#nowMs, !prepared)
    if (prepared) this.#execute(task, random !== undefined && task.unitRows > 1 && random.next() < cutOffChance)
    task.flush(this.#nowMs, !prepared || (random !== undefined && random.next() < 0.2))
    return prepared
  }

  #execute(task: ShardTask, cutOff: boolean): void {
    try {
      task.execute()
    } catch (thrown) {
      task.failed(thrown)
      return
    }
    if (cutOff) task.stopped('cut off', false)
    else task.finish(this.#options.random === undefined ? 0.5 : this.#options.random.next())
  }

  #deliver(link: Link): boolean {
    const bytes = link.frames.shift()
    if (bytes === undefined) return false
    const frame = readFrame(bytes)
    if (frame !== undefined) this.#tasks[link.to]?.arrive(link.from, frame)
    if (link.full && link.frames.length === 0) {
      link.full = false
      this.#tasks[link.from]?.drained(link.to)
    }
    return true
  }

  #throwFailure(): void {
    for (const { state } of this.#tasks) {
      if (state.kind !== 'failed') continue
      for (const task of this.#tasks) task.close()
      const { stage, place, thrown } = state.failure
      const at = place === undefined ? '' : ` at ${place.text}`
      throw new NearstateError('FUNCTION_FAILED', `Stage "${stage ?? ''}" failed${at}: ${messageOf(thrown)}`, { cause: thrown })
    }
  }

  /** A reader's word, or a moment: what it read may have come before we listened. */
  async #untilReady(): Promise<void> {
    await new Promise<void>(resolve => {
      this.#ready = resolve
      setImmediate(resolve)
    })
    this.#ready = undefined
  }

  #stages(): ReadonlyMap<string, StageProgress> {
    return new Map(mergeStages(this.#tasks.map(task => task.stages())).map(stage => [stage.name, stage]))
  }
}
