/**
 * A job on virtual shards with checkpoints, driven by one seed: units, frames, barriers, commits and crashes in any order. The master
 * here is a plain loop; the tasks, exchange, state and records are the real ones.
 */
import type { RestorePoint } from '../../../../src/streaming/master/record.ts'
import { NearstateError } from '../../../../src/base/errors.ts'
import type { ShardId } from '../../../../src/base/ids.ts'
import { type Random, randomInteger } from '../../../../src/base/random.ts'
import { MemoryMaps } from '../../../../src/shard/jobs/in-process-run.ts'
import type { Split } from '../../../../src/streaming/assignment.ts'
import { restoredSplits } from '../../../../src/streaming/checkpoint/restored-splits.ts'
import { type CheckpointRules, everyCheckpointRule } from '../../../../src/streaming/checkpoint/rules.ts'
import { readFrame } from '../../../../src/streaming/exchange/frame.ts'
import { mapsOf } from '../../../../src/streaming/execution/plan.ts'
import { ShardTask } from '../../../../src/streaming/execution/shard-task.ts'
import { assignmentOf, layoutOf } from '../../../../src/streaming/graph/assignment-of.ts'
import { buildJob, type Job } from '../../../../src/streaming/graph/job.ts'
import type { SourceConnector } from '../../../../src/streaming/source.ts'
import { MemoryState } from '../../../../src/streaming/state/memory-state.ts'
import { decodeValue, encodeValue } from '../../../../src/wire/value-codec.ts'

export interface RunOptions {
  readonly job: Job<unknown>
  readonly connectorOf: (kind: string) => SourceConnector
  readonly random: Random
  readonly shards?: number
  readonly partitions?: number
  /** Chance per step of a crash, and how many at most. */
  readonly crashChance?: number
  readonly crashesMax?: number
  /** Chance that a barrier is given up before it is answered. */
  readonly giveUpChance?: number
  readonly barrierChance?: number
  readonly guarantee?: 'exactly-once' | 'at-least-once'
  readonly rules?: CheckpointRules
  readonly cutOffChance?: number
  /** Rows, and records written for a barrier, in one unit. */
  readonly unitRowsMax?: number
  /** Called before each step, with the task that has a partition. */
  readonly onStep?: (taskOf: (partition: number) => ShardTask, attempt: number) => void
  readonly limits?: { readonly creditFrames?: number; readonly waitingRowsMax?: number }
}

export interface RunResult {
  readonly maps: MemoryMaps
  readonly crashes: number
  readonly checkpoints: number
  readonly state: MemoryState
}

interface Link {
  readonly from: number
  readonly to: number
  readonly frames: Uint8Array[]
}

const codec = { encode: encodeValue, decode: decodeValue }

export async function runWithCheckpoints(options: RunOptions): Promise<RunResult> {
  return new Cluster(options).toEnd()
}

class Cluster {
  readonly #options: RunOptions
  readonly #built
  readonly #maps: MemoryMaps
  readonly #state: MemoryState
  readonly #partitions: number
  #attempt = 0
  #restore: RestorePoint = { attempt: 0, n: 0 }
  #tasks: ShardTask[] = []
  #owners: readonly number[] = []
  #links: Link[] = []
  #later: (() => void)[] = []
  #nowMs = 0
  #n = 0
  #committed = 0
  #pending: { readonly n: number; readonly answers: Set<number>; isLast: boolean } | undefined
  #givenUp = 0
  #crashes = 0
  #checkpoints = 0

  constructor(options: RunOptions) {
    this.#options = options
    this.#built = buildJob(options.job, undefined)
    this.#partitions = options.partitions ?? 24
    this.#maps = new MemoryMaps(this.#partitions)
    this.#state = new MemoryState(this.#partitions, options.rules ?? everyCheckpointRule)
  }

  async toEnd(): Promise<RunResult> {
    const { random, crashChance = 0, crashesMax = 3, barrierChance = 0.05, giveUpChance = 0 } = this.#options
    await this.#start()
    for (let steps = 0; this.#tasks.some(({ state }) => state.kind !== 'completed'); steps += 1) {
      if (steps > 400_000)
        throw new Error(`stuck: ${JSON.stringify(this.#tasks.map(task => [task.state.kind, task.hasEnded, task.barrierWaitsFor]))}`)
      this.#nowMs += 1
      if (this.#crashes < crashesMax && random.next() < crashChance) {
        this.#crashes += 1
        await this.#start()
        continue
      }
      if (random.next() < barrierChance) this.#barrier()
      if (this.#pending !== undefined && this.#givenUp < 2 && random.next() < giveUpChance) {
        this.#pending = undefined
        this.#givenUp += 1
      }
      this.#options.onStep?.(partition => this.#tasks[this.#owners[partition] as number] as ShardTask, this.#attempt)
      this.#something(random)
      for (const { state } of this.#tasks) if (state.kind === 'failed') throw state.failure.thrown
      if (steps % 64 === 0) await new Promise(resolve => setImmediate(resolve))
    }
    return { maps: this.#maps, crashes: this.#crashes, checkpoints: this.#checkpoints, state: this.#state }
  }

  async #start(): Promise<void> {
    const { random, shards: most = 3, guarantee = 'exactly-once', rules = everyCheckpointRule } = this.#options
    const old = this.#tasks
    this.#attempt += 1
    if (this.#committed > 0 || !rules.restorePointNeedsCommit) this.#restore = { attempt: this.#attempt - 1, n: this.#committed }
    const attempt = this.#attempt
    const restore = this.#restore
    this.#links = []
    this.#later = []
    this.#pending = undefined
    this.#n = 0
    this.#committed = 0
    this.#givenUp = 0
    // Another number of shards, and other owners of the partitions.
    const shards = 1 + randomInteger(random, most)
    const shift = randomInteger(random, shards)
    const ids = Array.from({ length: shards }, (_, index) => `shard-${attempt}-${index}` as ShardId)
    const state = {
      members: ids.map(id => ({ status: 'alive', shards: [{ id }] })),
      partitions: Array.from({ length: this.#partitions }, (_, partition) => ({
        primary: { shard: ids[(partition * 7 + shift) % shards] as ShardId },
      })),
    }
    for (let partition = 0; partition < this.#partitions; partition += 1) this.#state.begin(partition, attempt, restore)
    const splits = await this.#splits(restore)
    const assignment = assignmentOf(layoutOf({ version: 1, state }, this.#built.graph.name), this.#built.graph, splits)
    const maps = new Map(mapsOf(this.#built).map(({ map, keyCodec }) => [map, this.#maps.open(map, keyCodec)] as const))
    this.#owners = assignment.owners
    this.#tasks = ids.map((_, self) => {
      const store = this.#state.store(attempt, restore, say => this.#later.push(say))
      return new ShardTask({
        job: this.#built.graph.name,
        built: this.#built,
        attempt,
        assignment,
        self,
        maps,
        codec,
        send: (to, bytes) => this.#send(attempt, self, to, bytes),
        openSplit: (stage, split, position) => {
          const source = this.#built.graph.stages.find(({ name }) => name === stage)?.source
          return this.#options
            .connectorOf(source?.connector ?? '')
            .open(source?.options ?? {}, split, { onReady: () => undefined }, position)
        },
        checkpoints: { guarantee, store, rules, answer: ({ n, ended }) => this.#answered(attempt, self, n, ended) },
        limits: this.#options.limits ?? {},
        unitRowsMax: this.#options.unitRowsMax ?? 1024,
      })
    })
    for (const task of this.#tasks) task.run(this.#nowMs)
    // What is left of the last attempt is refused wherever it writes.
    for (const task of old) task.close()
  }

  async #splits(restore: RestorePoint): Promise<Record<string, readonly Split[]>> {
    const sources = this.#built.graph.stages.filter(({ source }) => source !== undefined)
    if (restore.attempt > 0) {
      const store = this.#state.store(this.#attempt, restore)
      const all = Array.from({ length: this.#partitions }, (_, partition) => partition)
      return restoredSplits(
        store,
        all,
        sources.map(({ name }) => name),
        codec,
      )
    }
    const lists: Record<string, readonly Split[]> = {}
    for (const { name, source } of sources)
      lists[name] = await this.#options.connectorOf(source?.connector ?? '').listSplits(source?.options ?? {})
    return lists
  }

  #send(attempt: number, from: number, to: number, bytes: Uint8Array): boolean {
    if (attempt !== this.#attempt) return true
    let link = this.#links.find(one => one.from === from && one.to === to)
    if (link === undefined) {
      link = { from, to, frames: [] }
      this.#links.push(link)
    }
    link.frames.push(bytes)
    return true
  }

  #barrier(): void {
    if (this.#pending !== undefined) return
    this.#n += 1
    this.#pending = { n: this.#n, answers: new Set(), isLast: true }
    for (const task of this.#tasks) task.barrier(this.#n, this.#committed)
  }

  #answered(attempt: number, self: number, n: number, ended: boolean): void {
    if (attempt !== this.#attempt || this.#pending?.n !== n) return
    this.#pending.answers.add(self)
    if (!ended) this.#pending.isLast = false
    if (this.#pending.answers.size < this.#tasks.length) return
    const { isLast } = this.#pending
    this.#pending = undefined
    this.#givenUp = 0
    this.#committed = n
    this.#checkpoints += 1
    this.#later.push(() => {
      for (const task of this.#tasks) task.committed(n, isLast)
    })
  }

  #something(random: Random): void {
    const choice = randomInteger(random, this.#tasks.length + this.#links.length + 1)
    const task = this.#tasks[choice]
    if (task !== undefined) this.#unit(task)
    else if (choice < this.#tasks.length + this.#links.length) this.#deliver(this.#links[choice - this.#tasks.length] as Link)
    else this.#later.shift()?.()
  }

  #unit(task: ShardTask): void {
    const { random, cutOffChance = 0 } = this.#options
    const prepared = task.prepare(this.#nowMs, 1_700_000_000_000)
    if (prepared) {
      try {
        task.execute()
        if (task.unitRows > 1 && random.next() < cutOffChance) task.stopped('cut off', false)
        else task.finish(random.next())
      } catch (thrown) {
        task.failed(thrown)
      }
    }
    task.flush(this.#nowMs, !prepared)
  }

  #deliver(link: Link): void {
    const bytes = link.frames.shift()
    if (bytes === undefined) return
    const frame = readFrame(bytes)
    if (frame === undefined) throw new NearstateError('INTERNAL', 'no frame')
    this.#tasks[link.to]?.arrive(link.from, frame)
  }
}
