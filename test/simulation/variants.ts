/**
 * The protocol with one rule taken away each: rows of protocol-variants.md. Every broken one must be caught, or the checkers and the
 * bad luck of the simulation are worth nothing. Those in which a rule is put in another, right way must stay green.
 */
import type { TimedFault } from './faults/fault.ts'
import * as profiles from './profiles.ts'
import * as scenarios from './scenarios.ts'
import { hostileRun, type SimulationOptions } from './options.ts'
import { type AllRules, allRules, type Ambush, type RunExtras } from './simulation.ts'

export interface Variant {
  readonly name: string
  readonly rules: AllRules
  readonly options: SimulationOptions
  /** undefined: by the seed. */
  readonly faults: ((seed: number) => readonly TimedFault[]) | undefined
  readonly ambush: Ambush | undefined
  /** Seeds from here on are tried until one catches it. */
  readonly fromSeed: number
}

interface Luck {
  readonly options?: SimulationOptions
  readonly faults?: (seed: number) => readonly TimedFault[]
  readonly ambush?: Ambush
  readonly fromSeed?: number
}

const variant = (name: string, rules: AllRules, { options = hostileRun, fromSeed = 1, faults, ambush }: Luck): Variant => ({
  name,
  rules,
  options: { ...options, settleMs: 0 },
  faults,
  ambush,
  fromSeed,
})

const replication = (off: keyof AllRules['replication'], luck: Luck = {}): Variant =>
  variant(off, { ...allRules, replication: { ...allRules.replication, [off]: false } }, luck)

const membership = (off: keyof AllRules['membership'], luck: Luck = {}): Variant =>
  variant(off, { ...allRules, membership: { ...allRules.membership, [off]: false } }, luck)

const driver = (off: keyof AllRules['driver'], luck: Luck = {}): Variant =>
  variant(off, { ...allRules, driver: { ...allRules.driver, [off]: false } }, luck)

export const brokenVariants: readonly Variant[] = [
  replication('cutDifferingTail', { fromSeed: 66 }),
  replication('acknowledgeOnlyMessage', { options: profiles.slowNetwork, fromSeed: 120 }),
  replication('refuseOlderEpoch', { fromSeed: 52 }),
  replication('learnNewerEpochFirst', { options: profiles.deafShards, fromSeed: 166 }),
  replication('acknowledgementsOfAll'),
  replication('removalLearnedFirst'),
  replication('countBeforeAsking'),
  replication('learnerAcknowledgedCommitted'),
  replication('learnerAppliedLastChunk'),
  replication('logFromFirstChunk', { options: profiles.slowCopies }),
  replication('minInSyncAtAnswer', { options: { ...profiles.slowNetwork, minInSync: 2 } }),
  replication('readNeedsPromises'),
  replication('promisesOfAll', { options: profiles.planned, faults: scenarios.staggered }),
  replication('countedLearnerPromises', { options: profiles.lonely, ambush: scenarios.atAddition }),
  replication('promiseOfAppliedVersion', { options: profiles.slowThreads, fromSeed: 13 }),
  replication('readCheckAfterReceipt', { options: profiles.plannedCrowd, faults: scenarios.frozen }),
  replication('readWaitsForCommit'),
  replication('promotedStopsPromising', { options: profiles.slowThreads, fromSeed: 50 }),
  replication('promiseFromSendTime', { options: profiles.slowAnswers, fromSeed: 25 }),
  replication('promiseMargin', { options: profiles.suspicious, fromSeed: 25 }),
  replication('waitAfterPromotion', { options: profiles.suspicious }),
  replication('waitForAllEarlierPrimaries', { options: profiles.plannedFive, faults: scenarios.twice }),
  replication('waitAfterGivingUp', { options: profiles.slowCopies, faults: scenarios.cutOff, ambush: scenarios.afterPromotion }),
  replication('stopBeforeHandOver', { options: profiles.restless }),
  replication('drainBeforeHandOver', { options: profiles.restless }),
  replication('onlyServingHandsOver', { options: profiles.plannedFour, faults: scenarios.leaver }),
  replication('deduplicate'),
  replication('snapshotHoldsDeduplication', { options: profiles.restless }),
  replication('recordedAnswerWaits', { fromSeed: 36 }),
  replication('unknownTicketRefused', { options: profiles.lateCalls }),
  membership('requestsBoundToEpoch', { options: profiles.lateRequests }),
  membership('promotionRemovesOldPrimary', { options: profiles.slowNetwork, fromSeed: 53 }),
  membership('lastReplicaStays', { options: profiles.suspicious, fromSeed: 16 }),
  membership('onlyDeadGivenUp', { options: profiles.plannedPair, faults: scenarios.rashOperator }),
  driver('expiryIsAnEffect', { options: profiles.shortLived }),
  driver('freshIncarnation'),
]

/**
 * Caught once in some thousand runs, by `hunt.ts`: too seldom for every test run, in which their scenarios in
 * test/unit/replication/rules.test.ts stand for them.
 */
export const rareVariants: readonly Variant[] = [
  // The acknowledgement must come epochs late, and just when its sender is cut off.
  replication('currentEpochAcknowledgements', { options: profiles.lateAcknowledgements, fromSeed: 640 }),
]

/**
 * Rules behind which another one stands, so that whole clusters show nothing without them: each has a scenario of its own in
 * test/unit/replication/rules.test.ts and test/unit/membership/rules.test.ts.
 */
export const hiddenRules: readonly (keyof AllRules['replication'] | keyof AllRules['membership'])[] = [
  // A learner goes with a new epoch; or by its known death, and then another is in its place when the request is long out of date.
  'casNamesIncarnation',
  // Acknowledgements of another incarnation are of another epoch, or too old for the follower.
  'acknowledgementsBoundToIncarnation',
  // A backup holds more than it matched only where a message ends short of what is committed.
  'committedCappedAtMatched',
  // What a deposed primary holds does not match, and the snapshot that follows replaces its store.
  'deposedStartsEmpty',
  // Tables reach a control thread by several ways within milliseconds.
  'promiseOnlyAtEqualVersions',
  // A new incarnation stands in no counted set.
  'promisesBoundToIncarnation',
]

/** What goes with a seed of the variant; `isWhole`: with all rules. */
export const extrasOf = (variant: Variant, seed: number, isWhole = false): RunExtras => ({
  ...(isWhole ? {} : { rules: variant.rules }),
  ...(variant.faults === undefined ? {} : { faults: variant.faults(seed) }),
  ...(variant.ambush === undefined ? {} : { ambush: variant.ambush }),
})
