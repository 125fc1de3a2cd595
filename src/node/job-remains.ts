/**
 * What runs of jobs have left goes when they have ended: state in every partition, and code that no job uses any more. The leader's chore.
 *
 * 1. The record that ends a run says what is to go, in the same write, so that a new leader goes on with it.
 * 2. It says so until no partition has anything left; one on its way to another node is asked again.
 */
import { type ClusterView, coordinatorKeys, type Member } from '../membership/cluster-state.ts'
import type { Coordinator, CoordinatorValue } from '../membership/coordinator-port.ts'
import { isReachable } from '../membership/replica-transitions.ts'
import { isEnded } from '../streaming/master/record.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { JobRecord, Remains } from './job-record.ts'
import { LeaderChore } from './leader-chore.ts'
import type { NodeControl } from './node-control.ts'
import { decodeJson, encodeJson } from './watched-table.ts'

export interface DropNeeds {
  readonly view: () => ClusterView | undefined
  readonly controlOf: (member: Member) => NodeControl
}

export interface JobRemainsOptions extends DropNeeds {
  readonly coordinator: Coordinator
  readonly log: Logger
  /** Removes the code unless something uses it. */
  readonly removeCode: (hash: string) => Promise<void>
}

const dropTimeoutMs = 60_000

export class JobRemains {
  readonly #options: JobRemainsOptions
  /** Ids of running jobs without checkpoints: nothing is left of the runs before them. Their records are their drivers' to write. */
  readonly #cleared = new Set<string>()
  readonly #chore: LeaderChore

  constructor(options: JobRemainsOptions) {
    this.#options = options
    this.#chore = new LeaderChore(() => this.#removeAll(), options.log, 'what ended jobs have left could not be removed')
  }

  lead(): void {
    this.#chore.lead()
  }

  stop(): void {
    this.#chore.stop()
    this.#cleared.clear()
  }

  /** A run has ended or begun, or a record has changed what is to go. */
  poke(): void {
    this.#chore.poke()
  }

  async #removeAll(): Promise<boolean> {
    let isDone = true
    for (const stored of await this.#options.coordinator.list(coordinatorKeys.jobPrefix)) {
      const record = decodeJson<JobRecord>(stored.value)
      if (record.remains === undefined || (!isEnded(record.run) && this.#cleared.has(record.id))) continue
      isDone = (await this.#remove(record, record.remains, stored)) && isDone
    }
    return isDone
  }

  async #remove(record: JobRecord, { attempt, keep }: Remains, { key, version }: CoordinatorValue): Promise<boolean> {
    const hasEnded = isEnded(record.run)
    // A run that is refused before it ran leaves what the one before it has left, rows and all.
    if (!hasEnded && record.run.status !== 'running') return false
    if (!(await dropInAll(this.#options, record.name, attempt, keep))) return false
    if (!hasEnded) {
      this.#cleared.add(record.id)
      return true
    }
    await this.#options.removeCode(record.hash)
    const { remains: _gone, ...rest } = record
    const outcome = await this.#options.coordinator.compareAndSet(key, version, encodeJson(rest))
    this.#cleared.delete(record.id)
    return outcome.kind === 'done'
  }
}

/** State up to this attempt of a job, or of a savepoint by its name as one. True: nothing is left in any partition. */
export async function dropInAll({ view, controlOf }: DropNeeds, job: string, attempt: number, keep: readonly string[]): Promise<boolean> {
  const state = view()?.state
  if (state === undefined) return false
  const request = { job, attempt, keep: [...keep] }
  const answers = await Promise.all(
    state.members.filter(isReachable).map(member => controlOf(member).dropJob(request, { timeoutMs: dropTimeoutMs })),
  )
  return new Set(answers.flatMap(({ partitions }) => partitions)).size === state.partitions.length
}
