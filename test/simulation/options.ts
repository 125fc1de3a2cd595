/** What a run is made of besides its seed. */
import { calmLuck, type NetworkLuck } from './engine/network.ts'
import { allFaults, type FaultOptions } from './faults/fault.ts'

export interface SimulationOptions {
  readonly hosts: number
  readonly spareHosts: number
  readonly shardsPerNode: number
  readonly partitions: number
  readonly backups: number
  readonly minInSync: number
  readonly clients: number
  readonly keys: number
  readonly callsPerSecond: number
  /** Simulated time with faults; a calm end of `settleMs` follows, in which everything must become whole again. */
  readonly runMs: number
  readonly settleMs: number
  readonly faults: number
  readonly weights: FaultOptions['weights']
  /** The network's weather when nothing is done to it. */
  readonly luck: NetworkLuck
  /** How often a message from control thread to shard waits, at most so long: a busy shard. */
  readonly threadLag: { readonly part: number; readonly maxMs: number }
  /** Part of the messages between control threads of which one side is behind that bring the newer table. */
  readonly viewPart: number
  readonly messageMaxBytes: number
  /** A client's session at a partition is forgotten so long after the last contact. */
  readonly clientSessionTtlMs: number
  readonly timedPart: number
  readonly readPart: number
  /** When reads are checked; undefined: each shard by its luck. */
  readonly readCheck: 'evaluation' | 'receipt' | undefined
  readonly traced: boolean
}

/** The run of the acceptance figures: at least 3 nodes, 60 simulated seconds, 1000 operations, 5 faults. */
export const fullRun: SimulationOptions = {
  hosts: 3,
  spareHosts: 2,
  shardsPerNode: 1,
  partitions: 4,
  backups: 1,
  minInSync: 1,
  clients: 5,
  keys: 12,
  callsPerSecond: 6,
  runMs: 48_000,
  settleMs: 12_000,
  faults: 12,
  weights: allFaults,
  luck: calmLuck,
  threadLag: { part: 0.1, maxMs: 80 },
  viewPart: 0.85,
  messageMaxBytes: 700,
  clientSessionTtlMs: 5000,
  timedPart: 0.1,
  readPart: 0.5,
  readCheck: undefined,
  traced: false,
}

/** Small and hostile: for broken variants, which want many runs and dense faults. */
export const hostileRun: SimulationOptions = {
  ...fullRun,
  spareHosts: 1,
  partitions: 2,
  backups: 2,
  clients: 4,
  keys: 4,
  callsPerSecond: 25,
  runMs: 9_000,
  settleMs: 10_000,
  faults: 12,
}
