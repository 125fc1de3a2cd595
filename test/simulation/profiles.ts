/** Kinds of bad luck for broken variants: short, dense, without the calm end. */
import { hostileRun, type SimulationOptions } from './options.ts'

const dense: SimulationOptions = {
  ...hostileRun,
  settleMs: 0,
  runMs: 7000,
  partitions: 1,
  keys: 3,
  callsPerSecond: 40,
  faults: 14,
  spareHosts: 1,
}

/** Answers under way when things happen: tails that differ, late messages. */
export const slowNetwork: SimulationOptions = {
  ...dense,
  luck: { loss: 0.03, duplicate: 0.03, straggle: 0.02, meanDelayMs: 12 },
  weights: { crash: 4, isolate: 6, cutBothWays: 5, cutOneWay: 4, pause: 2, quickRestart: 2, cutCoordinator: 2, pauseControl: 1 },
}

/** Many nodes, small messages: a backup that comes back with a tail of its own catches up step by step. */
export const smallMessages: SimulationOptions = { ...slowNetwork, hosts: 5, spareHosts: 0, messageMaxBytes: 100 }

/** Nobody dies, everybody is suspected: promises. */
export const suspicious: SimulationOptions = {
  ...dense,
  readPart: 0.7,
  weights: {
    isolate: 6,
    cutBothWays: 4,
    cutOneWay: 3,
    pause: 4,
    pauseShard: 3,
    pauseControl: 3,
    cutCoordinator: 3,
    coordinatorLosesAnswers: 1,
    badNetwork: 1,
  },
}

/** Shards that learn late what their control thread knows, and tables that seldom ride along. */
export const slowThreads: SimulationOptions = { ...suspicious, threadLag: { part: 0.6, maxMs: 300 }, viewPart: 0.3 }

/** Answers that come later than the margin between the two ends of a promise. */
export const slowAnswers: SimulationOptions = { ...suspicious, luck: { loss: 0.01, duplicate: 0.02, straggle: 0.02, meanDelayMs: 45 } }

/** Processes come and go: learners, snapshots, hand-overs. */
export const restless: SimulationOptions = {
  ...dense,
  spareHosts: 2,
  backups: 1,
  luck: { loss: 0.02, duplicate: 0.02, straggle: 0.01, meanDelayMs: 6 },
  weights: { join: 6, leave: 8, crash: 3, quickRestart: 2, isolate: 3, cutBothWays: 2, coordinatorLosesAnswers: 3 },
}

const late = (kind: string, part: number, maxMs: number): SimulationOptions => ({
  ...slowNetwork,
  luck: { ...slowNetwork.luck, late: { kind, part, maxMs } },
})

export const lateAcknowledgements = late('appended', 0.08, 6000)
export const lateRequests = late('request', 0.4, 4000)

/** Copies of writes that come after their session was forgotten. */
export const lateCalls: SimulationOptions = {
  ...dense,
  callsPerSecond: 8,
  readPart: 0.2,
  clientSessionTtlMs: 600,
  faults: 4,
  luck: { loss: 0.05, duplicate: 0.3, straggle: 0.01, meanDelayMs: 2, late: { kind: 'call', part: 0.2, maxMs: 4000 } },
}

/** For scenarios by plan: one partition per host, so that every host is a primary. */
export const planned: SimulationOptions = { ...dense, partitions: 3, runMs: 9000, spareHosts: 0, keys: 6, callsPerSecond: 20 }
export const plannedPair: SimulationOptions = { ...planned, backups: 1 }
export const plannedFive: SimulationOptions = { ...planned, hosts: 5, partitions: 5 }
export const plannedCrowd: SimulationOptions = { ...planned, clients: 16, callsPerSecond: 3, readPart: 0.6 }

/** Copying takes long enough for things to happen meanwhile. */
export const slowCopies: SimulationOptions = { ...plannedPair, keys: 60, callsPerSecond: 40, luck: { ...plannedPair.luck, meanDelayMs: 8 } }
export const plannedFour: SimulationOptions = { ...slowCopies, hosts: 4, partitions: 4, backups: 2 }

/** Shards hear of tables late, and their control threads stand still. */
export const deafShards: SimulationOptions = {
  ...dense,
  threadLag: { part: 0.6, maxMs: 2000 },
  weights: { pauseControl: 10, cutCoordinator: 4, isolate: 2, cutOneWay: 2 },
}

/** Tables seldom ride along with heartbeats. */
export const fewTables: SimulationOptions = {
  ...dense,
  hosts: 5,
  partitions: 3,
  spareHosts: 0,
  viewPart: 0.03,
  weights: { isolate: 10, cutBothWays: 3, cutCoordinator: 4, pauseControl: 2 },
}

/** Often one copy alone is left, and a new one is built. */
export const lonely: SimulationOptions = { ...dense, backups: 1, weights: { crash: 8, quickRestart: 4, isolate: 2, join: 3, leave: 2 } }

/** Values that live briefly, are read often and written seldom. */
export const shortLived: SimulationOptions = {
  ...suspicious,
  timedPart: 1,
  readPart: 0.93,
  keys: 6,
  callsPerSecond: 20,
  weights: { isolate: 6, crash: 6, quickRestart: 2 },
}
