/** What a run is made of besides its seed. */
import { calmLuck, type NetworkLuck } from './engine/network.ts'
import { randomInteger, seededRandom } from '../../src/base/random.ts'
import { allFaults, everyFault, type FaultOptions } from './faults/fault.ts'

export interface SimulationOptions {
  readonly hosts: number
  readonly spareHosts: number
  readonly shardsPerNode: number
  /** Hosts lie in so many zones; 0: none are given. */
  readonly zones: number
  /** Memory of each shard of the first host, which is too little; undefined: enough. */
  readonly tightMemoryBytes: number | undefined
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
  /** Of the reads, those that any replica may answer. */
  readonly anyReadPart: number
  /** So many clients go on trying for longer than their sessions live. */
  readonly stubbornClients: number
  readonly outageAtStart: boolean
  /** An operator gives up what has been lost for so long; undefined: only when the faults say so, and in the end. */
  readonly operatorAfterMs: number | undefined
  /** When reads are checked; undefined: each shard by its luck. */
  readonly readCheck: 'evaluation' | 'receipt' | undefined
  readonly traced: boolean
}

/** Some partitions of a few keys have room in it, all of them have not. */
const tightMemoryBytes = 12 * 1024

/** The run of the acceptance figures: at least 3 nodes, 60 simulated seconds, 1000 operations, 5 faults. */
export const fullRun: SimulationOptions = {
  hosts: 3,
  spareHosts: 2,
  shardsPerNode: 1,
  zones: 0,
  tightMemoryBytes: undefined,
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
  anyReadPart: 0,
  stubbornClients: 0,
  outageAtStart: false,
  operatorAfterMs: undefined,
  readCheck: undefined,
  traced: false,
}

/** As `fullRun`, with every kind of fault, on clusters of shapes that differ by seed. */
export function variedRun(seed: number): SimulationOptions {
  const random = seededRandom(seed * 7 + 1)
  const isOne = (part: number): boolean => random.next() < part
  const isTriple = isOne(0.3)
  const hosts = isTriple || isOne(0.8) ? 3 : 4
  return {
    ...fullRun,
    hosts,
    spareHosts: 5 - hosts,
    shardsPerNode: isOne(0.4) ? 2 : 1,
    zones: isOne(0.4) ? 2 + randomInteger(random, 2) : 0,
    backups: isTriple ? 2 : 1,
    minInSync: isTriple && isOne(0.7) ? 2 : 1,
    tightMemoryBytes: isOne(0.25) ? tightMemoryBytes : undefined,
    anyReadPart: 0.15,
    callsPerSecond: 8,
    stubbornClients: 1,
    operatorAfterMs: 4000,
    outageAtStart: isOne(0.15),
    weights: everyFault,
  }
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
