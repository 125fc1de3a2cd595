/**
 * One attempt of a job over several shards in this thread: the tasks, the exchange and its frames are the real ones; threads, links
 * and clocks are not. Synchronous: nothing happens but by `step`.
 *
 * Owns: the tasks, the frames on their way, and what happens next. With `random` that is drawn from it: a unit of some shard, a
 * frame that arrives, a link that fills up or drains, a unit cut off; so one seed is one interleaving.
 */
import { messageOf, NearstateError } from '../base/errors.ts'
import { type Random, randomInteger } from '../base/random.ts'
import { readFrame } from '../streaming/exchange/frame.ts'
import type { ShardTask, TaskFailure } from '../streaming/execution/shard-task.ts'

interface Link {
  readonly from: number
  readonly to: number
  readonly frames: Uint8Array[]
  isFull: boolean
}

export interface SimulatedShardsOptions {
  readonly random: Random | undefined
  /** Chance that a unit is run and then treated as cut off, so that it is run again. */
  readonly cutOffs: number
  readonly nowMs: () => number
  readonly wallTimeMs: () => number
  /** Makes the task of shard `self`, which sends by `send`. */
  readonly task: (self: number, send: (to: number, bytes: Uint8Array) => boolean) => ShardTask
}

export class SimulatedShards {
  readonly tasks: readonly ShardTask[]
  readonly #options: SimulatedShardsOptions
  readonly #links: Link[] = []
  #turn = 0
  #failure: TaskFailure | undefined

  constructor(count: number, options: SimulatedShardsOptions) {
    this.#options = options
    this.tasks = Array.from({ length: count }, (_, self) => options.task(self, (to, bytes) => this.#send(self, to, bytes)))
    this.#recover()
  }

  /** What the restore point has prepared is committed everywhere before any shard runs. */
  #recover(): void {
    let left = this.tasks.length
    for (const task of this.tasks) {
      task.recover(error => {
        left -= 1
        if (error !== undefined) this.#failure = { stage: undefined, place: undefined, isFinal: false, thrown: error }
        else if (left === 0 && this.#failure === undefined) for (const one of this.tasks) one.run(this.#options.nowMs())
      })
    }
  }

  /** They run, or have run. */
  get areReady(): boolean {
    return this.tasks.every(({ state }) => state.kind !== 'ready')
  }

  get haveCompleted(): boolean {
    return this.tasks.every(task => task.state.kind === 'completed')
  }

  get failure(): TaskFailure | undefined {
    for (const { state } of this.tasks) if (state.kind === 'failed') return state.failure
    return this.#failure
  }

  /** One unit or one frame; false: nothing can happen until a source has more or time passes. */
  step(): boolean {
    const { random } = this.#options
    if (random === undefined) return this.#next()
    const choice = randomInteger(random, this.tasks.length + this.#links.length)
    const task = this.tasks[choice]
    const link = this.#links[choice - this.tasks.length]
    const moved = task === undefined ? link !== undefined && this.#deliver(link) : this.#unit(task)
    return moved || this.#next()
  }

  close(): void {
    for (const task of this.tasks) task.close()
  }

  /** The shards and the links in turn. */
  #next(): boolean {
    const { tasks } = this
    // What a task sends when it finds nothing to do may give another one work: so the round ends with the links.
    for (let i = 0; i < tasks.length; i += 1) {
      const task = tasks[this.#turn % tasks.length] as ShardTask
      this.#turn += 1
      if (this.#unit(task)) return true
    }
    for (const link of this.#links) if (this.#deliver(link)) return true
    return false
  }

  #send(from: number, to: number, bytes: Uint8Array): boolean {
    const { random } = this.#options
    let link = this.#links.find(one => one.from === from && one.to === to)
    if (link === undefined) {
      link = { from, to, frames: [], isFull: false }
      this.#links.push(link)
    }
    link.frames.push(bytes)
    link.isFull ||= random !== undefined && randomInteger(random, 4) === 0
    return !link.isFull
  }

  #deliver(link: Link): boolean {
    const bytes = link.frames.shift()
    if (bytes === undefined) return false
    const frame = readFrame(bytes)
    if (frame !== undefined) this.tasks[link.to]?.arrive(link.from, frame)
    if (link.isFull && link.frames.length === 0) {
      link.isFull = false
      this.tasks[link.from]?.drained(link.to)
    }
    return true
  }

  #unit(task: ShardTask): boolean {
    const { random, nowMs, wallTimeMs, cutOffs } = this.#options
    const prepared = task.prepare(nowMs(), wallTimeMs())
    // A shell may flush between choosing a unit and running it.
    if (random !== undefined && random.next() < 0.5) task.flush(nowMs(), !prepared)
    if (prepared) this.#execute(task, random !== undefined && task.unitRows > 1 && random.next() < cutOffs)
    task.flush(nowMs(), !prepared || random === undefined || random.next() < 0.2)
    return prepared
  }

  #execute(task: ShardTask, isCutOff: boolean): void {
    try {
      task.execute()
    } catch (thrown) {
      task.failed(thrown)
      return
    }
    const { random } = this.#options
    if (isCutOff) task.stopped('cut off', false)
    else task.finish(random === undefined ? 0.5 : random.next())
  }
}

/** What the cluster would say of the failed attempt. */
export function failureError({ stage, place, thrown }: TaskFailure): NearstateError {
  const at = place === undefined ? '' : ` at ${place.text}`
  const where = stage === undefined ? '' : `Stage "${stage}" failed${at}: `
  const code = thrown instanceof NearstateError ? thrown.code : 'FUNCTION_FAILED'
  return new NearstateError(code, `${where}${messageOf(thrown)}`, { cause: thrown })
}
