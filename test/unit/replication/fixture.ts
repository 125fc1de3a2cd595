/** A few replicas of one partition over a wire that the test pumps by hand. */
import type { Epoch, MapId, NodeId, PartitionId, ShardId } from '../../../src/base/ids.ts'
import type { PartitionRecord, Replica, ReplicaRequest } from '../../../src/partitioning/partition-table.ts'
import type { ReplicationMessage } from '../../../src/replication/messages.ts'
import { PartitionReplica } from '../../../src/replication/partition-replica.ts'
import { type HeldPromise, replicaDefaults, type ReplicaOptions, type RequestId } from '../../../src/replication/replica-port.ts'
import type { ReplicationRules } from '../../../src/replication/rules.ts'
import { MemoryBudget } from '../../../src/storage/memory-budget.ts'
import { PartitionStore } from '../../../src/storage/partition-store.ts'

export const map = 1 as MapId
/** A capital letter: the second incarnation of that name. */
export function replicaOf(letter: string): Replica {
  const name = letter.toLowerCase()
  const incarnation = name === letter ? 1 : 2
  return { node: `${name}#${incarnation}` as NodeId, shard: `${name}.0#${incarnation}` as ShardId }
}
export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

export function recordOf(
  epoch: number,
  primary: string,
  inSync: string,
  learners = '',
  more: Partial<PartitionRecord> = {},
): PartitionRecord {
  const set = inSync.split('').map(replicaOf)
  const backups = `${inSync}${learners}`
    .split('')
    .filter(name => name !== primary)
    .map(replicaOf)
  return { epoch: epoch as Epoch, primary: replicaOf(primary), backups, inSync: set, ...more }
}

export class TestGroup {
  nowMs = 1000
  version = 0
  readonly replicas = new Map<string, PartitionReplica<string>>()
  readonly wire: ReplicationMessage[] = []
  readonly requests: ReplicaRequest[] = []
  readonly stops: string[] = []
  readonly promises = new Map<string, HeldPromise>()

  constructor(
    names: string,
    options: Partial<ReplicaOptions> | ((name: string) => Partial<ReplicaOptions>) = {},
    rules?: ReplicationRules,
  ) {
    for (const name of names) {
      const whole: ReplicaOptions = {
        ...replicaDefaults,
        partition: 0 as PartitionId,
        self: replicaOf(name),
        makeStore: () => new PartitionStore(new MemoryBudget(64 * 1024 * 1024), 1),
        heldPromise: node => this.promises.get(node) ?? { version: this.version, untilMs: Number.POSITIVE_INFINITY },
        ...(typeof options === 'function' ? options(name) : options),
      }
      this.replicas.set(name, new PartitionReplica<string>(whole, rules))
    }
  }

  at(name: string): PartitionReplica<string> {
    const replica = this.replicas.get(name)
    if (replica === undefined) throw new Error(`no replica ${name}`)
    return replica
  }

  /** The table's record, to all or to those named. */
  tell(record: PartitionRecord, to = [...this.replicas.keys()].join(''), promisedUntilMs = Number.NEGATIVE_INFINITY): void {
    this.version += 1
    for (const name of to) this.at(name).handleRecord(this.nowMs, this.version, record, promisedUntilMs)
  }

  /** Lets everything that is sent arrive, until all is quiet; `drops` are lost. */
  settle(drops: (message: ReplicationMessage) => boolean = () => false): void {
    for (let round = 0; round < 200; round += 1) {
      this.collect()
      if (this.wire.length === 0) return
      for (const message of this.wire.splice(0)) if (!drops(message)) this.deliver(message)
    }
    throw new Error('the replicas never come to rest')
  }

  pass(ms: number, drops?: (message: ReplicationMessage) => boolean): void {
    this.nowMs += ms
    for (const replica of this.replicas.values()) replica.handleTick(this.nowMs)
    this.settle(drops)
  }

  collect(): void {
    for (const replica of this.replicas.values()) {
      for (const action of replica.takeActions(this.nowMs)) {
        if (action.kind === 'send') this.wire.push(action.message)
        if (action.kind === 'request') this.requests.push(action.request)
        if (action.kind === 'stop') this.stops.push(action.reason)
      }
    }
  }

  deliver(message: ReplicationMessage): void {
    for (const [name, replica] of this.replicas) if (replicaOf(name).shard === message.to) replica.handleMessage(this.nowMs, message)
  }

  /** Answers the position, or why it was refused. */
  write(name: string, key: string, value: string, id?: RequestId): number | string {
    const replica = this.at(name)
    const admission = replica.beginWrite(this.nowMs, id)
    if (admission.kind === 'refused') return admission.reason
    if (admission.kind === 'recorded') {
      replica.wait('write', admission.position, `again ${new TextDecoder().decode(admission.result)}`)
      return admission.position
    }
    if (replica.store.findMap(map) === undefined) replica.append({ kind: 'openMap', map, limits: { maxBytes: 0, eviction: 'none' } })
    const k = bytes(key)
    const v = bytes(value)
    const times = { expiresAtMs: 0, maxIdleMs: 0, wallTimeMs: 1 }
    replica.append({ kind: 'put', map, key: k, keyStart: 0, keyEnd: k.length, value: v, valueStart: 0, valueEnd: v.length, ...times })
    const position = replica.finishWrite(this.nowMs, id, bytes(value))
    replica.wait('write', position, value)
    return position
  }

  stored(name: string, key: string): string | undefined {
    const found = this.at(name).store.findMap(map)
    const k = bytes(key)
    if (found?.find(k, 0, k.length, 1, false) !== 'found') return undefined
    const { segment, valueStart, valueEnd } = found.found
    return new TextDecoder().decode(segment.subarray(valueStart, valueEnd))
  }

  answered(name: string): readonly string[] {
    return this.at(name)
      .takeAnswered()
      .map(({ waiter, outcome }) => (outcome === 'committed' ? waiter : `${waiter}?`))
  }
}
