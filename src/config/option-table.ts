/**
 * The one option table: flags, environment names, `--help`, `--print-config` and the documentation are made from it.
 * The name of a row is the name in the parsed configuration, with its unit; `key` is what users write.
 */
import { hostname, totalmem } from 'node:os'
import { coordinatorForm, coordinatorWanted, etcdOptions } from './etcd-options.ts'
import { choice, duration, flag, integer, size, sizeOrShare, text } from './option-kinds.ts'

const nameForm = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/
const nameWanted = '1 to 63 letters, digits and _ . -, beginning with a letter or digit'

/** In a container the limit of the container, if there is one. */
function memoryBytes(): number {
  const constrained = process.constrainedMemory()
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()
}

const ownName = (): string => (nameForm.test(hostname()) ? hostname() : 'node-1')

export const optionTable = {
  cluster: text(
    {
      key: 'cluster',
      default: 'nearstate',
      doc: 'Name of the cluster; fixed when it is created.',
      placeholder: '<name>',
      wanted: nameWanted,
    },
    nameForm,
  ),
  name: text(
    {
      key: 'name',
      default: ownName(),
      doc: 'Name of this node, unique in the cluster; a node that comes back under its name takes its old place. By default the name of the host.',
      placeholder: '<name>',
      wanted: nameWanted,
    },
    nameForm,
  ),
  host: text(
    {
      key: 'host',
      default: '127.0.0.1',
      doc: 'Address that the node binds to and that other nodes and clients reach it at.',
      placeholder: '<address>',
      wanted: 'a host name or address without port',
    },
    /^([A-Za-z0-9_.-]+|[0-9a-fA-F:]+)$/,
  ),
  port: integer(
    { key: 'port', default: '7400', doc: 'Port of control and admin, which clients connect to first. 0: any free port.' },
    { min: 0, max: 65_535 },
  ),
  httpPort: integer({ key: 'httpPort', default: '7480', doc: 'Port of health and metrics. 0: any free port.' }, { min: 0, max: 65_535 }),
  shards: integer(
    {
      key: 'shards',
      default: '1',
      doc: 'Worker threads that own data, each with its own port and its part of the memory; also the weight of the node in placement. One per core, less one, is a good number.',
    },
    { min: 1, max: 64 },
  ),
  shardPortBase: integer(
    { key: 'shardPortBase', default: '0', doc: 'Port of the first shard; the others follow it. 0: any free ports, announced to clients.' },
    { min: 0, max: 65_535 },
  ),
  partitions: integer(
    {
      key: 'partitions',
      default: '240',
      doc: 'Slices of the key space; fixed when the cluster is created. 20 or more a node keep the nodes within 5 % of each other.',
    },
    { min: 1, max: 8192 },
  ),
  backups: integer(
    {
      key: 'backups',
      default: '1',
      doc: 'Synchronous copies of each partition on other nodes; the same on all nodes. A cluster with too few nodes serves with what it has and says so.',
    },
    { min: 0, max: 5 },
  ),
  minInSync: integer(
    {
      key: 'minInSync',
      default: '1',
      doc: 'Copies, the primary included, that must hold a write before it is answered; with fewer in sync writes are refused with NOT_ENOUGH_REPLICAS. 2 is advised with two backups.',
    },
    { min: 1, max: 6 },
  ),
  expectedNodes: integer(
    { key: 'expectedNodes', default: '1', doc: 'Nodes that must have joined before a new cluster gives out its partitions.' },
    { min: 1, max: 1000 },
  ),
  zone: text(
    {
      key: 'zone',
      default: '',
      doc: 'Where the node stands; replicas of a partition go to different zones. Empty: none.',
      placeholder: '<name>',
      wanted: `empty, or ${nameWanted}`,
    },
    /^([A-Za-z0-9][A-Za-z0-9_.-]{0,62})?$/,
  ),
  coordinator: text(
    {
      key: 'coordinator',
      default: 'embedded',
      doc: 'Where the cluster state is kept: `etcd://host:port,host:port,...`, the members of an etcd cluster (`etcds://`: with TLS); `embedded` in this process (a cluster of one node); `embedded://host:port`, one that another process serves.',
      placeholder: '<address>',
      wanted: coordinatorWanted,
    },
    coordinatorForm,
  ),
  ...etcdOptions,
  coordinatorSessionTtlMs: duration(
    {
      key: 'coordinatorSessionTtl',
      default: '3s',
      doc: 'Time without contact to the coordinator after which the other nodes treat a node as gone; a killed node can come back under its name after it. It renews three times in this time.',
    },
    { min: '500ms', max: '10m' },
  ),
  heartbeatMs: duration(
    {
      key: 'heartbeat',
      default: '250ms',
      doc: 'Pace of the messages between nodes that say who lives and carry the promises that reads rest on.',
    },
    { min: '20ms', max: '10s' },
  ),
  suspicionSilenceMs: duration(
    {
      key: 'suspicionSilence',
      default: '1s',
      doc: 'Silence after which a node is suspected; more than half of the others must agree before its partitions pass on.',
    },
    { min: '100ms', max: '1m' },
  ),
  replicaLeaseMs: duration(
    {
      key: 'replicaLease',
      default: '600ms',
      doc: 'How long a node promises not to take over what another one serves. A promoted backup waits for it; a primary without it answers no reads.',
    },
    { min: '150ms', max: '30s' },
  ),
  backupTimeoutMs: duration(
    {
      key: 'backupTimeout',
      default: '1s',
      doc: 'A backup that leaves something unanswered for so long is taken out of the in-sync set; writes wait for it until then.',
    },
    { min: '200ms', max: '1m' },
  ),
  replicationLogMaxBytes: size(
    {
      key: 'replicationLogMax',
      default: '64mb',
      doc: 'Changes of one partition kept for replicas that lag. Beyond it those being filled start anew, and writes wait for in-sync ones.',
    },
    { min: '1mb', max: '4gb' },
  ),
  migrationBandwidthBytes: size(
    {
      key: 'migrationBandwidth',
      default: '64mb',
      doc: 'Bytes per second of each partition that is copied to another node; a node takes part in two such copies at a time.',
    },
    { min: '64kb', max: '10gb' },
  ),
  requestSessionTtlMs: duration(
    {
      key: 'requestSessionTtl',
      default: '60s',
      doc: 'How long a partition remembers the writes of a client that is not heard of, to answer a repeated one without doing it twice.',
    },
    { min: '1s', max: '1d' },
  ),
  leaveTimeoutMs: duration(
    {
      key: 'leaveTimeout',
      default: '60s',
      doc: 'Time in which a node that leaves moves its partitions to others; then it ends all the same, and what it alone held is lost.',
    },
    { min: '0ms', max: '1d' },
  ),
  persistenceDir: text(
    {
      key: 'persistenceDir',
      default: '',
      doc: 'Directory in which the node keeps a durable mirror of what it holds, so that a cluster that was stopped as a whole comes back with its data; the same on all nodes. Empty: everything is in memory only.',
      placeholder: '<path>',
      wanted: 'a path',
    },
    /^.*$/,
  ),
  persistenceFsync: choice(
    {
      key: 'persistenceFsync',
      default: 'interval',
      doc: 'What the end of all copies of a partition at once may cost. `always`: nothing, each write is answered when it is on the disk of every in-sync copy. `interval`: about the last persistenceInterval. `never`: after a power cut everything, after a kill about the last tenth of a second.',
    },
    ['always', 'interval', 'never'],
  ),
  persistenceIntervalMs: duration(
    { key: 'persistenceInterval', default: '1s', doc: 'Pace of writing and syncing with persistenceFsync interval.' },
    { min: '10ms', max: '1h' },
  ),
  memoryMaxBytes: sizeOrShare(
    {
      key: 'memoryMax',
      default: '50%',
      doc: 'Memory for data on this node, split evenly over its shards; a share is of the machine (or container). Writes that would exceed it are refused with RESOURCE_EXHAUSTED.',
    },
    memoryBytes(),
    { min: '16mb', max: '1024gb' },
  ),
  valueMaxBytes: size(
    {
      key: 'valueMax',
      default: '16mb',
      doc: 'Largest value; a larger one is refused with INVALID_ARGUMENT. The store keeps lengths in 26 bits, so none can reach 64 MiB.',
    },
    { min: '1kb', max: '63mb' },
  ),
  messageMaxBytes: size(
    {
      key: 'messageMax',
      default: '8mb',
      doc: 'Largest message on the wire, both ways. Values above 256 KiB travel in chunks, so it need not hold a value.',
    },
    { min: '2mb', max: '256mb' },
  ),
  queuedOperationsMax: integer(
    {
      key: 'queuedOperationsMax',
      default: '65536',
      doc: 'Operations that a shard has taken and not answered, over all clients; above it new ones are refused with RESOURCE_EXHAUSTED before any work.',
    },
    { min: 64, max: 10_000_000 },
  ),
  sliceMaxMs: duration(
    { key: 'sliceMax', default: '1ms', doc: 'A shard turns to its other work after the first operation that passes this time.' },
    { min: '1ms', max: '100ms' },
  ),
  userCodeTimeLimitMs: duration(
    {
      key: 'userCodeTimeLimit',
      default: '250ms',
      doc: 'CPU time after which a call of user code is stopped with FUNCTION_FAILED. Below replicaLease.',
    },
    { min: '10ms', max: '1h' },
  ),
  autoCreateMaps: flag({
    key: 'autoCreateMaps',
    default: 'true',
    doc: 'A write to a map that does not exist creates it with defaults; otherwise it is refused with NOT_FOUND.',
  }),
  shutdownGraceMs: duration(
    { key: 'shutdownGrace', default: '10s', doc: 'Time in which a node that stops answers what is under way.' },
    { min: '1ms', max: '1h' },
  ),
  logLevel: choice({ key: 'logLevel', default: 'info', doc: 'Least severe log lines that are written.' }, [
    'debug',
    'info',
    'warn',
    'error',
    'silent',
  ]),
  insecure: flag({
    key: 'insecure',
    default: 'false',
    doc: 'Lets the node bind to an address that other machines can reach, without encryption and authentication.',
  }),
} as const

export type OptionName = keyof typeof optionTable
export const optionNames = Object.keys(optionTable) as readonly OptionName[]

const words = (key: string): readonly string[] => key.split(/(?=[A-Z])/).map(word => word.toLowerCase())
export const flagOf = (key: string): string => `--${words(key).join('-')}`
export const environmentNameOf = (key: string): string => `NEARSTATE_${words(key).join('_').toUpperCase()}`
