/**
 * The cluster state as bytes for the coordinator: JSON, in which a replica is an index into the shards of all members in order, so
 * that thousands of partitions stay far below the 1 MiB of a ConfigMap.
 *
 *   { format: 1, cluster, partitionCount, leader?, members: [...], partitions: [[epoch, primary | null, [backup...], [inSync...], handedOver?, givenUp?, mirrors?]...], past? }
 *
 * `mirrors` is [[last in-sync...], restored from, its givenUp, restored by] or just the list; its replicas may belong to no member any more,
 * and are indexes into `past`, a list of [node, shard].
 *
 * Reading checks every shape: the coordinator may hold what another release, or a person, wrote.
 */
import { assert } from '../base/assert.ts'
import { messageOf, NearstateError } from '../base/errors.ts'
import type { Epoch, NodeId, ShardId } from '../base/ids.ts'
import type { ClusterState, Member, MemberStatus, PartitionRecord, Replica, ShardRecord } from './cluster-state.ts'

const format = 1

export function encodeClusterState(state: ClusterState): Uint8Array {
  const replicas = replicasOf(state.members)
  const indexOf = new Map(replicas.map((replica, index) => [replica.shard, index]))
  const index = (replica: Replica): number => {
    const at = indexOf.get(replica.shard)
    assert(at !== undefined && replicas[at]?.node === replica.node, 'every replica is a shard of a member')
    return at
  }
  const past = new PastReplicas()
  const partitions = state.partitions.map(
    ({ epoch, primary, backups, inSync, handedOver = false, givenUp = 0, lastInSync, restoredFrom }) => {
      const mirrors = [lastInSync?.map(past.index) ?? []]
      const from = restoredFrom === undefined ? [] : [past.index(restoredFrom.of), restoredFrom.givenUp, past.index(restoredFrom.by)]
      const hasMirrors = lastInSync !== undefined || restoredFrom !== undefined
      return [
        epoch,
        primary === undefined ? null : index(primary),
        backups.map(index),
        inSync.map(index),
        ...(handedOver || givenUp > 0 || hasMirrors ? [handedOver ? 1 : 0, givenUp] : []),
        ...(hasMirrors ? [[...mirrors, ...from]] : []),
      ]
    },
  )
  return new TextEncoder().encode(JSON.stringify({ format, ...state, partitions, ...(past.list.length > 0 ? { past: past.list } : {}) }))
}

/** INTERNAL when the bytes are no cluster state, UNSUPPORTED_VERSION when another release wrote them in another form. */
export function decodeClusterState(bytes: Uint8Array): ClusterState {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder().decode(bytes))
  } catch (cause) {
    throw new NearstateError('INTERNAL', `Cannot read cluster state of ${bytes.length} bytes: ${messageOf(cause)}`, { cause })
  }
  const state = new Shape(json, 'state')
  const found = state.field('format').number()
  if (found !== format)
    throw new NearstateError('UNSUPPORTED_VERSION', `Cannot read cluster state: its format is ${found}, this release reads ${format}`)
  const partitionCount = state.field('partitionCount').number()
  const leader = state.find('leader')
  const members = state.field('members').list(readMember)
  const replicas = replicasOf(members)
  const past = state.find('past')?.list(readPast) ?? []
  const partitions = state.field('partitions').list(row => readPartition(row, replicas, past))
  if (partitions.length !== 0 && partitions.length !== partitionCount) state.refuse(`${partitionCount} partitions`, `${partitions.length}`)
  return { cluster: state.field('cluster').string(), partitionCount, leader: leader?.string(), members, partitions }
}

const replicasOf = (members: readonly Member[]): readonly Replica[] =>
  members.flatMap(member => member.shards.map(({ id }) => ({ node: member.id, shard: id })))

/** Replicas, numbered as they come. */
class PastReplicas {
  readonly list: (readonly [NodeId, ShardId])[] = []
  readonly #indexOf = new Map<ShardId, number>()

  readonly index = ({ node, shard }: Replica): number => {
    const known = this.#indexOf.get(shard)
    if (known !== undefined) return known
    this.#indexOf.set(shard, this.list.length)
    return this.list.push([node, shard]) - 1
  }
}

const readPast = (pair: Shape): Replica => ({ node: pair.field(0).string() as NodeId, shard: pair.field(1).string() as ShardId })

const statuses: readonly string[] = ['joining', 'alive', 'leaving', 'suspect', 'dead'] satisfies readonly MemberStatus[]

function readMember(shape: Shape): Member {
  const status = shape.field('status').string()
  if (!statuses.includes(status)) shape.refuse(`a status of ${statuses.join(', ')}`, `"${status}"`)
  return {
    name: shape.field('name').string(),
    id: shape.field('id').string() as NodeId,
    pid: shape.field('pid').number(),
    status: status as MemberStatus,
    zone: shape.field('zone').string(),
    version: shape.field('version').string(),
    address: shape.field('address').string(),
    http: shape.field('http').string(),
    shards: shape
      .field('shards')
      .list((shard): ShardRecord => ({ id: shard.field('id').string() as ShardId, address: shard.field('address').string() })),
    startedAtMs: shape.field('startedAtMs').number(),
  }
}

const replicaIn =
  (replicas: readonly Replica[]) =>
  (at: Shape): Replica =>
    replicas[at.number()] ?? at.refuse(`an index below ${replicas.length}`, String(at.number()))

function readMirrors(shape: Shape, past: readonly Replica[]): Partial<PartitionRecord> {
  const replica = replicaIn(past)
  const lastInSync = shape.field(0).list(replica)
  const of = shape.find(1)
  return {
    ...(lastInSync.length > 0 ? { lastInSync } : {}),
    ...(of === undefined ? {} : { restoredFrom: { of: replica(of), givenUp: shape.field(2).number(), by: replica(shape.field(3)) } }),
  }
}

function readPartition(shape: Shape, replicas: readonly Replica[], past: readonly Replica[]): PartitionRecord {
  const replica = replicaIn(replicas)
  const mirrors = shape.find(6)
  const primary = shape.field(1)
  const givenUp = shape.find(5)?.number() ?? 0
  return {
    epoch: shape.field(0).number() as Epoch,
    primary: primary.isNull() ? undefined : replica(primary),
    backups: shape.field(2).list(replica),
    inSync: shape.field(3).list(replica),
    ...(shape.find(4)?.number() === 1 ? { handedOver: true } : {}),
    ...(givenUp > 0 ? { givenUp } : {}),
    ...(mirrors === undefined ? {} : readMirrors(mirrors, past)),
  }
}

/** A piece of JSON that knows where it stands. */
class Shape {
  readonly #value: unknown
  readonly #path: string

  constructor(value: unknown, path: string) {
    this.#value = value
    this.#path = path
  }

  find(key: string | number): Shape | undefined {
    if (typeof this.#value !== 'object' || this.#value === null) return this.refuse('an object or a list', typeof this.#value)
    return Object.hasOwn(this.#value, key)
      ? new Shape((this.#value as Record<string | number, unknown>)[key], `${this.#path}.${key}`)
      : undefined
  }

  field(key: string | number): Shape {
    return this.find(key) ?? this.refuse(`a field "${key}"`, 'none')
  }

  isNull(): boolean {
    return this.#value === null
  }

  string(): string {
    return typeof this.#value === 'string' ? this.#value : this.refuse('a string', typeof this.#value)
  }

  number(): number {
    return Number.isSafeInteger(this.#value) ? (this.#value as number) : this.refuse('an integer', typeof this.#value)
  }

  list<T>(read: (item: Shape) => T): readonly T[] {
    if (!Array.isArray(this.#value)) return this.refuse('a list', typeof this.#value)
    return this.#value.map((item: unknown, index) => read(new Shape(item, `${this.#path}[${index}]`)))
  }

  refuse(wanted: string, got: string): never {
    throw new NearstateError('INTERNAL', `Cannot read cluster state: ${this.#path} needs ${wanted}, got ${got}`)
  }
}
