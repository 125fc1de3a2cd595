/**
 * One run of a job, driven by the leader: asks every node for its progress until the run has ended one way or the other.
 *
 * Owns: the polling and the latest figures. Does not: start tasks or write records (job-master.ts).
 * It ends once: completed, failed, or abandoned (the leader changed, or the node stops) without a word.
 */
import { messageOf } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
import type { ClusterState, Member } from '../membership/cluster-state.ts'
import { liveMembers } from '../membership/transitions.ts'
import type { ShardProgress, StageProgress } from '../streaming/assignment.ts'
import { mergeStages } from '../streaming/execution/progress.ts'
import { type AttemptEnd, outcomeOf, primariesDigest } from './job-record.ts'
import type { NodeControl } from './node-control.ts'

export interface JobAttemptOptions {
  readonly job: string
  readonly attempt: number
  readonly nodes: readonly NodeId[]
  /** Digest of the primaries that it was assigned by. */
  readonly primaries: string
  readonly state: () => ClusterState | undefined
  readonly controlOf: (member: Member) => NodeControl
  readonly onEnd: (outcome: AttemptEnd) => void
}

const pollMs = 200
/** A live member that does not tell its progress for so long fails the run. */
const silenceMaxMs = 10_000

export class JobAttempt {
  readonly #options: JobAttemptOptions
  #stages: readonly StageProgress[] = []
  #timer: NodeJS.Timeout | undefined
  #ended = false
  #silentPolls = 0

  constructor(options: JobAttemptOptions) {
    this.#options = options
  }

  get stages(): readonly StageProgress[] {
    return this.#stages
  }

  start(): void {
    this.#timer = setTimeout(() => void this.#poll(), pollMs)
  }

  /** Ends it without calling onEnd. */
  abandon(): void {
    this.#ended = true
    clearTimeout(this.#timer)
  }

  /** Looks at the members again; called when the cluster changed. */
  checkMembers(): void {
    const { nodes, primaries } = this.#options
    const state = this.#options.state()
    const gone = missingNode(nodes, state)
    if (gone !== undefined)
      this.#end({ kind: 'failed', failure: { message: `node ${gone} was lost while the job ran, and its tasks with it` } })
    else if (state !== undefined && primariesDigest(state) !== primaries)
      this.#end({ kind: 'failed', failure: { message: 'partitions have moved to other shards while the job ran, away from its tasks' } })
  }

  async #poll(): Promise<void> {
    this.checkMembers()
    if (this.#ended) return
    try {
      const progress = await this.refresh()
      this.#silentPolls = 0
      const outcome = outcomeOf(progress)
      if (outcome.kind !== 'running') this.#end(withShardNames(outcome, this.#options.state()))
    } catch (error) {
      this.#silentPolls += 1
      if (this.#silentPolls * pollMs >= silenceMaxMs) {
        this.#end({
          kind: 'failed',
          failure: { message: `a node did not tell the job's progress for ${silenceMaxMs / 1000} s: ${messageOf(error)}` },
        })
      }
    }
    if (!this.#ended) this.#timer = setTimeout(() => void this.#poll(), pollMs)
  }

  /** Asks all nodes now. */
  async refresh(): Promise<readonly ShardProgress[]> {
    const { job, attempt } = this.#options
    const answers = await Promise.all(
      membersOf(this.#options.nodes, this.#options.state()).map(member =>
        this.#options.controlOf(member).jobProgress({ job, attempt }, { timeoutMs: 5000 }),
      ),
    )
    const progress = answers.flatMap(answer => JSON.parse(answer.json) as ShardProgress[])
    this.#stages = mergeStages(progress.map(({ stages }) => stages))
    return progress
  }

  #end(outcome: AttemptEnd): void {
    if (this.#ended) return
    this.abandon()
    this.#options.onEnd(outcome)
  }
}

/** Those of the nodes that are still members and not dead. */
export function membersOf(nodes: readonly NodeId[], state: ClusterState | undefined): readonly Member[] {
  return state === undefined ? [] : liveMembers(state).filter(member => nodes.includes(member.id))
}

/** Name (or id) of a node that takes part and is gone. */
function missingNode(nodes: readonly NodeId[], state: ClusterState | undefined): string | undefined {
  if (state === undefined) return undefined
  const there = new Set(membersOf(nodes, state).map(member => member.id))
  const gone = nodes.find(node => !there.has(node))
  return gone === undefined ? undefined : (state.members.find(member => member.id === gone)?.name ?? gone)
}

/** Shards know each other by incarnation; people know nodes by name. */
function withShardNames(outcome: AttemptEnd, state: ClusterState | undefined): AttemptEnd {
  if (outcome.kind !== 'failed') return outcome
  let { message } = outcome.failure
  for (const member of state?.members ?? []) {
    for (const [index, { id }] of member.shards.entries()) message = message.replaceAll(id, `${index} of ${member.name}`)
  }
  return { ...outcome, failure: { ...outcome.failure, message } }
}
