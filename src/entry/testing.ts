/** `nearstate/testing`: jobs on a virtual clock, fed by hand, and throw-away clusters. */
export { type ClusterOptions, type RunningCluster, startCluster } from '../node/embed.ts'
export type { TestGuarantee } from '../testing/attempts.ts'
export type { TestEvent } from '../testing/tap.ts'
export {
  type PushOptions,
  type SplitOption,
  type TestCheckpoint,
  type TestDeadLetter,
  type TestJob,
  testJob,
  type TestJobOptions,
  type TestSource,
  type TestTime,
} from '../testing/test-job.ts'
export type { TestAnswer, TestFetch } from '../testing/test-outside.ts'
export type { TestMap } from '../testing/test-map.ts'
