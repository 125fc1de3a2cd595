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

/** Processes come and go: learners, snapshots, hand-overs. */
export const restless: SimulationOptions = {
  ...dense,
  spareHosts: 2,
  backups: 1,
  luck: { loss: 0.02, duplicate: 0.02, straggle: 0.01, meanDelayMs: 6 },
  weights: { join: 6, leave: 8, crash: 3, quickRestart: 2, isolate: 3, cutBothWays: 2, coordinatorLosesAnswers: 3 },
}
