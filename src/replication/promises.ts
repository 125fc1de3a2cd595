import type { NodeId } from '../base/ids.ts'
import type { PartitionRecord } from '../partitioning/partition-table.ts'
import type { HeartbeatAnswer, HeartbeatMessage } from './messages.ts'
import type { HeldPromise } from './replica-port.ts'
import { everyRule, type ReplicationRules } from './rules.ts'

export interface PromiseOptions {
  readonly self: NodeId
  readonly leaseMs: number
  /** The holder counts a promise for leaseMs - marginMs from its own send time. */
  readonly marginMs: number
}

/**
 * The promises between one node's control thread and all others.
 *
 * Owns: what was promised to whom until when, what others promised and for which table version.
 * Does not: send, keep the pace of heartbeats, know views beyond who leads what.
 *
 * 1. A promise is given only about the table version that the answerer has.
 * 2. A promise is counted from the send time of the very message answered, and only for its version.
 * 3. Who is promoted must wait for the last promise given to any node that led the partition before.
 */
export class Promises {
  readonly #options: PromiseOptions
  readonly #rules: ReplicationRules
  readonly #held = new Map<NodeId, HeldPromise>()
  readonly #given = new Map<NodeId, number>()
  #version = 0
  #rows: readonly PartitionRecord[] = []
  /** Per partition: until when earlier primaries hold promises. */
  #promisedUntil: number[] = []

  constructor(options: PromiseOptions, rules: ReplicationRules = everyRule) {
    this.#options = options
    this.#rules = rules
  }

  get version(): number {
    return this.#version
  }

  /** The table as of `version`; before any message that needs it. */
  handleTable(version: number, rows: readonly PartitionRecord[]): void {
    if (version <= this.#version && this.#rows.length > 0) return
    for (const [partition, row] of rows.entries()) {
      if (row.handedOver === true && row.primary?.node === this.#options.self) {
        // Whoever handed over had stopped for good: what was promised before binds neither this record nor those that follow it.
        this.#promisedUntil[partition] = Number.NEGATIVE_INFINITY
        continue
      }
      const before = this.#rows[partition]?.primary?.node
      if (before === undefined || before === row.primary?.node || before === this.#options.self) continue
      const given = this.#given.get(before) ?? Number.NEGATIVE_INFINITY
      const earlier = this.#promisedUntil[partition] ?? Number.NEGATIVE_INFINITY
      this.#promisedUntil[partition] = this.#rules.waitForAllEarlierPrimaries ? Math.max(given, earlier) : given
    }
    this.#rows = rows
    this.#version = version
  }

  heartbeat(nowMs: number, to: NodeId): HeartbeatMessage {
    return { kind: 'heartbeat', from: this.#options.self, to, version: this.#version, sentAtMs: nowMs }
  }

  /** undefined: meant for another incarnation. Where `version` is above the heartbeat's, the driver adds the view to the answer. */
  handleHeartbeat(nowMs: number, message: HeartbeatMessage): HeartbeatAnswer | undefined {
    const { self, leaseMs } = this.#options
    if (message.to !== self && this.#rules.promisesBoundToIncarnation) return undefined
    const isBehind = message.version > this.#version
    const promised = !isBehind || !this.#rules.promiseOnlyAtEqualVersions
    // Without the rule the promise is about whatever the asker believes.
    const isOld = message.version < this.#version && !this.#rules.promotedStopsPromising
    const version = promised && (isBehind || isOld) ? message.version : this.#version
    if (promised && !isOld) this.#given.set(message.from, Math.max(this.#given.get(message.from) ?? 0, nowMs + leaseMs))
    // Without the rule a new incarnation answers for the old one.
    return {
      kind: 'heartbeatAnswer',
      from: this.#rules.promisesBoundToIncarnation ? self : message.to,
      to: message.from,
      version,
      sentAtMs: message.sentAtMs,
      promised,
    }
  }

  handleAnswer(nowMs: number, answer: HeartbeatAnswer): void {
    const { self, leaseMs, marginMs } = this.#options
    if (!answer.promised || (answer.to !== self && this.#rules.promisesBoundToIncarnation)) return
    const from = this.#rules.promiseFromSendTime ? answer.sentAtMs : nowMs
    const untilMs = from + (this.#rules.promiseMargin ? leaseMs - marginMs : leaseMs + marginMs)
    const known = this.#held.get(answer.from)
    if (known !== undefined && (known.version > answer.version || (known.version === answer.version && known.untilMs >= untilMs))) return
    this.#held.set(answer.from, { version: answer.version, untilMs })
  }

  /** What that node promised; for the shared memory that shards read. */
  held(node: NodeId): HeldPromise | undefined {
    return this.#held.get(node)
  }

  /** When the last promise given to an earlier primary of the partition runs out; -Infinity: there is none. Told to the shard with the record. */
  promisedUntilMs(partition: number): number {
    return this.#promisedUntil[partition] ?? Number.NEGATIVE_INFINITY
  }

  /** Drops every promise held: the clock cannot be trusted (boot time and monotonic time parted). */
  dropHeld(): void {
    this.#held.clear()
  }

  /** A node that left the table is forgotten, once what was promised to it has run out. */
  forget(nowMs: number, isMember: (node: NodeId) => boolean): void {
    for (const node of this.#held.keys()) if (!isMember(node)) this.#held.delete(node)
    for (const [node, untilMs] of this.#given) if (!isMember(node) && untilMs < nowMs) this.#given.delete(node)
  }
}
