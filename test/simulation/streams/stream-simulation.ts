/**
 * A job on a simulated cluster under seeded faults: crashed shards, deposed primaries, paused shards, several masters, messages that
 * are late, lost or come twice, frames that are lost, a coordinator whose answers do not come. Tasks, exchange, barriers, slots and the
 * job master are the real ones; replication is a log with a primary (replicated-partitions.ts).
 *
 * Checked in the end, when faults have stopped: the job completes, and its maps hold what loops over the rows say (I8, I9).
 */
import { NearstateError } from '../../../src/base/errors.ts'
import type { ShardId } from '../../../src/base/ids.ts'
import { type Random, randomInteger, seededRandom } from '../../../src/base/random.ts'
import type { Assignment, Split } from '../../../src/streaming/assignment.ts'
import { restoredSplits } from '../../../src/streaming/checkpoint/restored-splits.ts'
import { type CheckpointRules, everyCheckpointRule } from '../../../src/streaming/checkpoint/rules.ts'
import type { BarrierAnswer } from '../../../src/streaming/checkpoint/task-checkpoint.ts'
import { readFrame } from '../../../src/streaming/exchange/frame.ts'
import { mapsOf } from '../../../src/streaming/execution/plan.ts'
import { ShardTask } from '../../../src/streaming/execution/shard-task.ts'
import { assignmentOf, layoutOf } from '../../../src/streaming/graph/assignment-of.ts'
import { type BuiltJob, buildJob } from '../../../src/streaming/graph/job.ts'
import { type JobAction, JobMachine } from '../../../src/streaming/master/job-machine.ts'
import { newRun, type RunRecord } from '../../../src/streaming/master/record.ts'
import type { SplitReader } from '../../../src/streaming/source.ts'
import type { RestorePoint } from '../../../src/streaming/master/record.ts'
import { decodeValue, encodeValue } from '../../../src/wire/value-codec.ts'
import { handFed, SplitLog } from '../../../src/testing/hand-fed-source.ts'
import { Counters } from '../engine/counters.ts'
import { Scheduler } from '../engine/scheduler.ts'
import type { Violation } from '../history.ts'
import { expectedOf, job, maps, type Row, rowsOf } from './job.ts'
import { ReplicatedPartitions } from './replicated-partitions.ts'

export interface StreamOptions {
  readonly shards: number
  readonly partitions: number
  readonly splits: number
  /** Rows of each split; one comes every `rowEveryMs`. */
  readonly rows: number
  readonly rowEveryMs: number
  readonly faults: number
  /** Parts of the messages that are lost, come twice, or come up to `lateMaxMs` late. */
  readonly lost: number
  readonly twice: number
  readonly late: number
  readonly lateMaxMs: number
  readonly framesLost: number
  readonly intervalMs: number
  /** A deposed primary, if it is up, is primary again after this long; default: it is not. */
  readonly backAfterMs?: number
}

export const hostileStream: StreamOptions = {
  shards: 3,
  partitions: 5,
  splits: 3,
  rows: 60,
  rowEveryMs: 20,
  faults: 6,
  lost: 0.02,
  twice: 0.1,
  late: 0.05,
  lateMaxMs: 900,
  framesLost: 0.001,
  intervalMs: 60,
}

export interface StreamResult {
  readonly violations: readonly Violation[]
  readonly counters: Counters
  readonly attempts: number
}

const codec = { encode: encodeValue, decode: decodeValue }
const limits = {
  timeoutMs: 250,
  givenUpMax: 3,
  startTimeoutMs: 400,
  backoffMs: 10,
  backoffMaxMs: 100,
  failuresMax: 1_000_000,
  casRetryMs: 60,
}
const endMs = 40_000

export function runStreamSimulation(seed: number, options = hostileStream, rules: CheckpointRules = everyCheckpointRule): StreamResult {
  return new StreamSimulation(seed, options, rules).run()
}

interface Running {
  readonly attempt: number
  readonly restore: RestorePoint
  readonly assignment: Assignment
  /** Shards of the assignment by their index. */
  readonly shards: readonly number[]
  readonly task: ShardTask
  readonly master: Master
}

interface Shard {
  readonly index: number
  isUp: boolean
  /** Crashes so far: messages to an earlier life are lost. */
  life: number
  pausedUntilMs: number
  running: Running | undefined
  /** Highest attempt seen in its memory. */
  attempt: number
}

interface Master {
  readonly machine: JobMachine
  isAlive: boolean
  shards: readonly number[]
  /** Of all partitions, when its attempt was assigned. */
  epochs: readonly number[]
}

class StreamSimulation {
  readonly #options: StreamOptions
  readonly #rules: CheckpointRules
  readonly #random: Random
  readonly #scheduler = new Scheduler()
  readonly #counters = new Counters()
  readonly #built: BuiltJob
  readonly #rows: readonly (readonly Row[])[]
  readonly #logs: readonly SplitLog[]
  readonly #partitions: ReplicatedPartitions
  readonly #shards: readonly Shard[]
  readonly #violations: Violation[] = []
  readonly #masters: Master[] = []
  /** When the last frame on a link arrives: frames of one link keep their order. */
  readonly #links = new Map<string, number>()
  #record: RunRecord = newRun('exactly-once')
  #version = 1
  readonly #faultsUntilMs: number

  constructor(seed: number, options: StreamOptions, rules: CheckpointRules) {
    this.#options = options
    this.#rules = rules
    this.#random = seededRandom(Math.imul(seed, 0x9e3779b1))
    const built = buildJob(job, undefined)
    this.#built = { ...built, nodes: built.nodes.map(handFed) }
    this.#rows = rowsOf(seed, options.splits, options.rows)
    this.#logs = this.#rows.map((_, index) => new SplitLog('rows', index, 4))
    this.#partitions = new ReplicatedPartitions(options.partitions, options.shards, this.#scheduler, this.#random, rules)
    this.#shards = Array.from({ length: options.shards }, (_, index) => ({
      index,
      isUp: true,
      life: 0,
      pausedUntilMs: 0,
      running: undefined,
      attempt: 0,
    }))
    this.#faultsUntilMs = 200 + options.rows * options.rowEveryMs + 800
  }

  run(): StreamResult {
    const { rows, rowEveryMs, faults } = this.#options
    for (const [split, log] of this.#logs.entries()) {
      for (const [i, row] of (this.#rows[split] ?? []).entries()) {
        this.#scheduler.at(i * rowEveryMs + this.#upTo(rowEveryMs), () => log.push(row, true, undefined))
      }
      this.#scheduler.at((rows + 1) * rowEveryMs, () => log.end())
    }
    for (const shard of this.#shards) this.#turns(shard)
    this.#newMaster()
    for (let i = 0; i < faults; i += 1) this.#scheduler.at(100 + this.#upTo(this.#faultsUntilMs - 300), () => this.#fault())
    // When faults have stopped there is one master, and everything is up.
    this.#scheduler.at(this.#faultsUntilMs, () => {
      for (const master of this.#masters) master.isAlive = false
      this.#newMaster()
    })
    try {
      this.#scheduler.runUntil(endMs, () => this.#record.status !== 'completed' && this.#record.status !== 'failed')
    } catch (error) {
      if (!(error instanceof Error)) throw error
      this.#violate('bug', error.message)
    }
    if (this.#violations.length === 0) this.#check()
    return { violations: this.#violations, counters: this.#counters, attempts: this.#record.attempt }
  }

  #check(): void {
    const { status, failure } = this.#record
    if (status !== 'completed') this.#violate('progress', `the job is ${status}: ${failure?.message ?? ''}; ${this.#standstill}`)
    const expected = expectedOf(this.#rows)
    for (const map of maps) {
      const found = this.#partitions.rowsOf(map)
      for (const key of new Set([...found.keys(), ...(expected.get(map)?.keys() ?? [])])) {
        const [is, should] = [JSON.stringify(found.get(key)), JSON.stringify(expected.get(map)?.get(key))]
        if (is !== should) this.#violate('I8', `map ${map}, key ${key}: ${is} instead of ${should}`)
      }
    }
  }

  /** For people: who waits for what. */
  get #standstill(): string {
    const masters = this.#masters
      .filter(({ isAlive }) => isAlive)
      .map(({ machine }) => `master ${machine.state} of ${machine.record.attempt}`)
    const tasks = this.#shards.map(({ index, isUp, running }) => {
      const { task } = running ?? {}
      const waits = task?.barrierWaitsFor
      return `shard ${index} ${isUp ? 'up' : 'down'} ${task?.state.kind} of ${running?.attempt} ${task?.hasEnded} ${waits?.what} ${waits?.stage}`
    })
    return [...masters, ...tasks].join('; ')
  }

  // ---- faults

  #fault(): void {
    const kind = ['crash', 'depose', 'pause', 'newMaster', 'rival'][randomInteger(this.#random, 5)] ?? ''
    this.#counters.add(`fault.${kind}`)
    const shard = this.#shards[randomInteger(this.#random, this.#shards.length)] as Shard
    switch (kind) {
      case 'crash':
        this.#crash(shard)
        break
      case 'depose':
        this.#depose(randomInteger(this.#random, this.#partitions.count))
        break
      case 'pause':
        shard.pausedUntilMs = this.#nowMs + this.#upTo(600)
        break
      case 'newMaster':
        for (const master of this.#masters) master.isAlive = false
        this.#newMaster()
        break
      default:
        // The old one does not know yet.
        this.#newMaster()
    }
  }

  #crash(shard: Shard): void {
    if (this.#shards.filter(({ isUp }) => isUp).length < 2 || !shard.isUp) return
    shard.running?.task.close()
    shard.running = undefined
    shard.attempt = 0
    shard.isUp = false
    shard.life += 1
    this.#partitions.forget(shard.index)
    this.#scheduler.after(20 + this.#upTo(200), () => {
      for (const [partition, primary] of this.#partitions.primaries.entries()) if (primary === shard.index) this.#depose(partition)
      this.#scheduler.after(50 + this.#upTo(300), () => {
        shard.isUp = true
      })
    })
  }

  #depose(partition: number): void {
    const primary = this.#partitions.primaries[partition]
    const others = this.#shards.filter(({ isUp, index }) => isUp && index !== primary)
    const to = others[randomInteger(this.#random, others.length)]
    if (to === undefined) return
    this.#partitions.move(partition, to.index)
    this.#tellOfTable()
    const { backAfterMs } = this.#options
    if (backAfterMs === undefined || primary === undefined) return
    this.#scheduler.after(backAfterMs, () => {
      if (this.#shards[primary]?.isUp !== true || this.#partitions.primaries[partition] !== to.index) return
      this.#partitions.move(partition, primary)
      this.#tellOfTable()
    })
  }

  #tellOfTable(): void {
    if (!this.#rules.primaryChangeEndsAttempt) return
    for (const master of this.#masters) {
      this.#scheduler.after(this.#upTo(150), () => this.#tell(master, machine => this.#tableChanged(master, machine)))
    }
  }

  #tableChanged(master: Master, machine: JobMachine): void {
    const { epochs } = this.#partitions
    if (master.epochs.some((epoch, partition) => epoch !== epochs[partition])) {
      machine.lost(machine.record.attempt, 'another primary', this.#nowMs)
    }
  }

  // ---- masters and the coordinator

  #newMaster(): void {
    this.#counters.add('master')
    const name = `master-${this.#masters.length}`
    const times = { ...limits, intervalMs: this.#options.intervalMs }
    const machine = new JobMachine(this.#record, String(this.#version), name, times, this.#rules)
    const master: Master = { machine, isAlive: true, shards: [], epochs: [] }
    this.#masters.push(master)
    this.#tell(master, one => one.begin())
    const tick = (): void => {
      if (!master.isAlive) return
      if (machine.nextDeadlineMs <= this.#nowMs) this.#tell(master, one => one.tick(this.#nowMs))
      this.#scheduler.after(5, tick)
    }
    tick()
  }

  #tell(master: Master, say: (machine: JobMachine) => void): void {
    if (!master.isAlive) return
    say(master.machine)
    for (let actions = master.machine.takeActions(); actions.length > 0; actions = master.machine.takeActions()) {
      for (const action of actions) this.#perform(master, action)
    }
  }

  #perform(master: Master, action: JobAction): void {
    switch (action.kind) {
      case 'cas':
        this.#compareAndSet(master, action.expected, action.record)
        break
      case 'start':
        this.#startAttempt(master, action.attempt, action.restore)
        break
      case 'run':
        this.#toAll(master, action.attempt, ({ task }) => task.run(this.#nowMs))
        break
      case 'barrier':
        this.#toAll(master, action.attempt, ({ task }) => task.barrier(action.n, action.c))
        break
      case 'committed':
        this.#counters.add('checkpoint')
        for (let time = 0; time < (action.isLast ? 8 : 1); time += 1) {
          this.#toAll(master, action.attempt, ({ task }) => task.committed(action.n, action.isLast))
        }
        break
      case 'stop':
        for (const index of master.shards) {
          this.#message(() => {
            const shard = this.#shards[index] as Shard
            if (shard.running?.attempt === action.attempt) this.#close(shard)
          })
        }
        this.#scheduler.after(30, () => this.#tell(master, machine => machine.stopped(action.attempt, this.#nowMs)))
        break
      case 'deposed':
        this.#counters.add('master.deposed')
        master.isAlive = false
        // A write of the old one came in between: the leader reads the record again.
        if (master === this.#masters.at(-1)) this.#scheduler.after(20, () => this.#newMaster())
        break
      case 'ended':
      case 'held':
      case 'savepoint':
      case 'savepointEnded':
        break
    }
  }

  #compareAndSet(master: Master, expected: string | undefined, record: RunRecord): void {
    const unknown = (): void => this.#tell(master, machine => machine.casAnswered({ kind: 'unknown' }, this.#nowMs))
    const luck = this.#isCalm ? 1 : this.#random.next()
    if (luck < 0.08) {
      this.#counters.add('cas.lost')
      this.#scheduler.after(80, unknown)
      return
    }
    this.#scheduler.after(1 + this.#upTo(20), () => {
      const isWritten = expected === undefined || expected === String(this.#version)
      if (isWritten) {
        this.#version += 1
        this.#record = record
      }
      const version = String(this.#version)
      const answer = isWritten ? ({ kind: 'written', version } as const) : ({ kind: 'conflict', record: this.#record, version } as const)
      if (luck < 0.16) this.#scheduler.after(80, unknown)
      else this.#scheduler.after(1 + this.#upTo(20), () => this.#tell(master, machine => machine.casAnswered(answer, this.#nowMs)))
    })
  }

  /** Starts in the logs of all partitions, then tasks on all shards, then `ready`. */
  #startAttempt(master: Master, attempt: number, restore: RestorePoint): void {
    this.#counters.add('attempt')
    const owners = [...this.#partitions.primaries]
    const epochs = [...this.#partitions.epochs]
    const up = this.#shards.filter(({ isUp }) => isUp).map(({ index }) => index)
    master.shards = up
    master.epochs = epochs
    const lost = (reason: string): void => {
      this.#scheduler.after(20, () => this.#tell(master, machine => machine.lost(attempt, reason, this.#nowMs)))
    }
    if (owners.some(owner => !up.includes(owner))) {
      lost('a primary is not up')
      return
    }
    const begun = new Map<number, readonly Split[]>()
    for (const index of up) {
      const own = owners.flatMap((owner, partition) => (owner === index ? [partition] : []))
      this.#toShard(index, shard => {
        this.#beginOn(shard, epochs, attempt, restore, own, error => {
          if (error !== undefined) {
            lost(error.message)
            return
          }
          const found = this.#restoredSplits(index, epochs, attempt, restore, own)
          if (found === undefined) {
            lost('another attempt has begun')
            return
          }
          this.#message(() => {
            begun.set(index, found)
            if (begun.size === up.length) this.#prepare(master, epochs, attempt, restore, owners, up, [...begun.values()].flat())
          })
        })
      })
    }
  }

  #restoredSplits(
    shard: number,
    epochs: readonly number[],
    attempt: number,
    restore: RestorePoint,
    own: readonly number[],
  ): readonly Split[] | undefined {
    if (restore.attempt === 0) return []
    try {
      return restoredSplits(this.#partitions.store(shard, epochs, attempt, restore), own, ['rows'], codec)['rows'] ?? []
    } catch (thrown) {
      if (thrown instanceof NearstateError) return undefined
      throw thrown
    }
  }

  #beginOn(
    shard: Shard,
    epochs: readonly number[],
    attempt: number,
    restore: RestorePoint,
    own: readonly number[],
    done: (error?: Error) => void,
  ): void {
    if (shard.attempt > attempt || (shard.attempt === attempt && this.#rules.noSecondStart)) return
    this.#close(shard)
    shard.attempt = attempt
    let left = own.length
    if (left === 0) done()
    for (const partition of own) {
      try {
        this.#partitions.begin(shard.index, partition, epochs[partition] as number, attempt, restore, () => {
          left -= 1
          if (left === 0) done()
        })
      } catch (thrown) {
        done(thrown as Error)
        return
      }
    }
  }

  #prepare(
    master: Master,
    epochs: readonly number[],
    attempt: number,
    restore: RestorePoint,
    owners: readonly number[],
    up: readonly number[],
    restored: readonly Split[],
  ): void {
    const isFresh = restore.attempt === 0 || !this.#rules.splitsFromCheckpoint
    const splits = isFresh ? this.#logs.map(({ split }) => split) : restored
    const ids = up.map(index => `shard-${index}` as ShardId)
    const state = {
      members: ids.map(id => ({ status: 'alive', shards: [{ id }] })),
      partitions: owners.map(owner => ({ primary: { shard: `shard-${owner}` as ShardId } })),
    }
    const assignment = assignmentOf(layoutOf({ version: 1, state }, this.#built.graph.name), this.#built.graph, { rows: splits })
    const prepared = new Set<number>()
    for (const [self, index] of up.entries()) {
      this.#toShard(index, shard => {
        if (shard.attempt !== attempt || shard.running !== undefined) return
        try {
          shard.running = {
            attempt,
            restore,
            assignment,
            shards: up,
            master,
            task: this.#task(master, shard, epochs, attempt, restore, assignment, self, up),
          }
        } catch (thrown) {
          if (!(thrown instanceof NearstateError)) throw thrown
          return
        }
        this.#message(() => {
          prepared.add(index)
          if (prepared.size === up.length) this.#tell(master, machine => machine.ready(attempt, up.length, this.#nowMs))
        })
      })
    }
  }

  // ---- shards

  #task(
    master: Master,
    shard: Shard,
    epochs: readonly number[],
    attempt: number,
    restore: RestorePoint,
    assignment: Assignment,
    self: number,
    up: readonly number[],
  ): ShardTask {
    const local = mapsOf(this.#built).map(({ map }) => [map, this.#partitions.map(shard.index, epochs, map, attempt, restore)] as const)
    return new ShardTask({
      job: this.#built.graph.name,
      built: this.#built,
      attempt,
      assignment,
      self,
      maps: new Map(local),
      codec,
      unitRowsMax: 4,
      limits: { creditFrames: 2, frameRowsMax: 4, waitingRowsMax: 8 },
      send: (to, bytes) => {
        this.#frame(shard, self, up[to] as number, bytes)
        return true
      },
      openSplit: (_stage, { descriptor }, position): SplitReader =>
        (this.#logs[Number(descriptor['index'])] as SplitLog).open(position === undefined ? 0 : Number(position)),
      checkpoints: {
        guarantee: 'exactly-once',
        store: this.#partitions.store(shard.index, epochs, attempt, restore),
        rules: this.#rules,
        answer: (answer: BarrierAnswer) => {
          for (let time = 0; time < (this.#random.next() < 0.1 ? 2 : 1); time += 1) {
            this.#message(() => this.#answer(master, attempt, self, answer))
          }
        },
      },
    })
  }

  /** To the master that asked, or to whoever is master now. */
  #answer(master: Master, attempt: number, self: number, answer: BarrierAnswer): void {
    const to = master.isAlive ? master : (this.#masters.find(({ isAlive }) => isAlive) ?? master)
    this.#tell(to, machine => machine.answered(attempt, self, answer, this.#nowMs))
  }

  #close(shard: Shard): void {
    shard.running?.task.close()
    shard.running = undefined
  }

  #turns(shard: Shard): void {
    const turn = (): void => {
      const { running } = shard
      if (running !== undefined && shard.pausedUntilMs <= this.#nowMs) this.#turn(shard, running)
      this.#scheduler.after(1 + this.#upTo(4), turn)
    }
    turn()
  }

  #turn(shard: Shard, running: Running): void {
    const { task, attempt, master } = running
    for (let units = 0; units < 6 && task.state.kind === 'running'; units += 1) {
      const isPrepared = task.prepare(this.#nowMs, this.#nowMs)
      if (isPrepared) {
        try {
          task.execute()
          task.finish(0.5)
        } catch (thrown) {
          task.failed(thrown)
        }
      }
      task.flush(this.#nowMs, !isPrepared || this.#random.next() < 0.3)
      if (!isPrepared) break
    }
    const { state } = task
    const self = running.shards.indexOf(shard.index)
    if (state.kind === 'completed') {
      if (this.#random.next() < 0.1) this.#message(() => this.#tell(master, machine => machine.completed(attempt, self, this.#nowMs)))
    } else if (state.kind === 'failed') {
      this.#close(shard)
      const { thrown } = state.failure
      if (!(thrown instanceof NearstateError)) this.#violate('bug', String(thrown))
      this.#counters.add('task.failed')
      this.#message(() => this.#tell(master, machine => machine.lost(attempt, String(thrown), this.#nowMs)))
    }
  }

  // ---- messages

  #frame(from: Shard, self: number, to: number, bytes: Uint8Array): void {
    if (!this.#isCalm && this.#random.next() < this.#options.framesLost) {
      this.#counters.add('frame.lost')
      return
    }
    const link = `${from.index} ${to}`
    const atMs = Math.max(this.#links.get(link) ?? 0, this.#nowMs + 1 + this.#upTo(6))
    this.#links.set(link, atMs)
    const copy = bytes.slice()
    const deliver = (): void => {
      const shard = this.#shards[to] as Shard
      if (shard.pausedUntilMs > this.#nowMs) {
        const laterMs = Math.max(this.#links.get(link) ?? 0, shard.pausedUntilMs)
        this.#links.set(link, laterMs)
        this.#scheduler.at(laterMs, deliver)
        return
      }
      const frame = readFrame(copy)
      if (frame === undefined || shard.running === undefined) return
      if (frame.attempt !== shard.running.attempt) {
        this.#counters.add('frame.old')
        if (this.#rules.oldFramesRefused) return
      }
      shard.running.task.arrive(self, frame)
    }
    this.#scheduler.at(atMs, deliver)
  }

  /** To the tasks of an attempt, wherever they are still alive. */
  #toAll(master: Master, attempt: number, say: (running: Running) => void): void {
    for (const index of master.shards) {
      this.#toShard(index, ({ running }) => {
        if (running?.attempt === attempt) say(running)
      })
    }
  }

  #toShard(index: number, say: (shard: Shard) => void): void {
    const shard = this.#shards[index] as Shard
    const { life } = shard
    const deliver = (): void => {
      if (shard.life !== life || !shard.isUp) return
      if (shard.pausedUntilMs > this.#nowMs) this.#scheduler.at(shard.pausedUntilMs, deliver)
      else say(shard)
    }
    this.#message(deliver)
  }

  /** Late, lost or twice by its luck. */
  #message(deliver: () => void): void {
    const { lost, twice, late, lateMaxMs } = this.#options
    const luck = this.#isCalm ? 1 : this.#random.next()
    if (luck < lost) return
    const isLate = luck < lost + late
    this.#scheduler.after(1 + this.#upTo(isLate ? lateMaxMs : 8), deliver)
    if (luck >= lost + late && luck < lost + late + twice) this.#scheduler.after(1 + this.#upTo(lateMaxMs), deliver)
  }

  get #nowMs(): number {
    return this.#scheduler.nowMs
  }

  get #isCalm(): boolean {
    return this.#nowMs >= this.#faultsUntilMs
  }

  #upTo(ms: number): number {
    return this.#random.next() * ms
  }

  #violate(invariant: string, text: string): void {
    this.#violations.push({ invariant, atMs: this.#nowMs, text })
  }
}
