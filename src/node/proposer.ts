/**
 * Looks at the membership whenever something has come up, and writes what this node has to propose.
 *
 * Owns: when to look, the one proposal under way, whom this node suspected at the last look. Does not: decide (ReplicatedMembership).
 *
 * 1. One proposal at a time. After a conflict the newer state is waited for: against the same version another one would fail too.
 * 2. When the set of suspects changes the others are told at once: a promotion waits for more than half of them.
 */
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { ClusterView } from '../membership/cluster-state.ts'
import type { ClusterChange, ClusterProposal, ReplicatedMembership } from '../membership/replicated-membership.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { ClusterWriter } from './cluster-writer.ts'

export interface ProposerOptions {
  readonly membership: ReplicatedMembership
  readonly writer: ClusterWriter
  readonly clock: Clock
  readonly random: Random
  /** Before anybody is judged. */
  readonly onLook: () => void
  /** Before it has joined a node proposes nothing. */
  readonly isMember: () => boolean
  readonly onSuspects: () => void
  readonly onWritten: (view: ClusterView) => void
  readonly log: Logger
}

/** What comes up within this time is proposed in one. */
const gatherMs = 2
/** At least so long between two versions that only go on with copies under way: each costs every thread of the cluster some work. */
const stepMs = 50
/** Without a newer state after a conflict: then the watch is slow, and another look may help. */
const conflictPauseMs = 200
/** After a proposal whose outcome is unknown. */
const retryMs = 300

export class Proposer {
  readonly #options: ProposerOptions
  #timer: NodeJS.Timeout | undefined
  #lookAtMs = Number.POSITIVE_INFINITY
  #isWriting = false
  #isStopped = false
  #suspects = ''
  #nextStepAtMs = Number.NEGATIVE_INFINITY
  /** The version that a proposal has failed against, and until when another one against it makes no sense. */
  #refused = { version: 0, untilMs: 0 }

  constructor(options: ProposerOptions) {
    this.#options = options
  }

  lookSoon(delayMs = gatherMs): void {
    const atMs = this.#options.clock.nowMs() + delayMs
    if (this.#isStopped || this.#lookAtMs <= atMs) return
    clearTimeout(this.#timer)
    this.#lookAtMs = atMs
    this.#timer = setTimeout(() => {
      this.#lookAtMs = Number.POSITIVE_INFINITY
      this.#look()
    }, delayMs)
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  #look(): void {
    const { membership, clock, isMember, onLook, onSuspects } = this.#options
    onLook()
    const nowMs = clock.nowMs()
    const suspects = membership.suspects(nowMs).join()
    if (suspects !== this.#suspects) {
      this.#suspects = suspects
      onSuspects()
    }
    const deadlineMs = membership.nextDeadlineMs(nowMs)
    if (deadlineMs !== undefined) this.lookSoon(Math.max(1, deadlineMs - nowMs))
    if (!isMember() || this.#isWriting) return
    const { version, untilMs } = this.#refused
    const proposal = membership.propose(nowMs)
    if (proposal === undefined) return
    const isStep = proposal.changes.length > 0 && proposal.changes.every(isStepOfCopies)
    if (proposal.expectedVersion === version && nowMs < untilMs) this.lookSoon(Math.max(1, untilMs - nowMs))
    else if (isStep && nowMs < this.#nextStepAtMs) this.lookSoon(Math.max(1, this.#nextStepAtMs - nowMs))
    else {
      if (isStep) this.#nextStepAtMs = nowMs + stepMs
      void this.#propose(proposal)
    }
  }

  async #propose({ expectedVersion, state, changes }: ClusterProposal): Promise<void> {
    const { writer, clock, random, onWritten, log } = this.#options
    const refuse = (pauseMs: number): void => {
      this.#refused = { version: expectedVersion, untilMs: clock.nowMs() + pauseMs }
    }
    this.#isWriting = true
    try {
      const written = await writer.write(expectedVersion, state)
      if (written === undefined) refuse(conflictPauseMs)
      else {
        for (const change of changes) tell(log, change)
        onWritten(written)
      }
    } catch (error) {
      refuse(retryMs * (1 + random.next()))
      if (!this.#isStopped) log.warn('the cluster state could not be changed; trying again', { reason: messageOf(error) })
    } finally {
      this.#isWriting = false
      this.lookSoon()
    }
  }
}

/** A replica out of reach is not to be waited for. */
const isStepOfCopies = (change: ClusterChange): boolean =>
  change.kind === 'moves' || (change.kind === 'request' && change.request.kind !== 'remove')

function tell(log: Logger, change: ClusterChange): void {
  switch (change.kind) {
    case 'leader':
      return log.info('leading the cluster', { leader: change.name })
    case 'suspect':
      return log.warn('a member is out of reach; its partitions pass on to their backups', { member: change.name })
    case 'returned':
      return log.info('a member is back', { member: change.name })
    case 'formed':
      return log.info('the cluster has formed', { nodes: change.nodes, partitions: change.partitions })
    case 'restored':
      return log.info('lost partitions are restored from durable mirrors', { partitions: change.partitions })
    case 'request':
      return log.debug('replicas changed', { kind: change.request.kind, partition: change.request.partition })
    case 'moves':
      return log.debug('replicas move')
  }
}
