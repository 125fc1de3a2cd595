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
  replication('cutDifferingTail'),
  replication('acknowledgeOnlyMessage', { options: profiles.slowNetwork }),
  replication('refuseOlderEpoch'),
  replication('learnNewerEpochFirst', { options: profiles.deafShards }),
  replication('acknowledgementsOfAll'),
  replication('acknowledgementsBoundToIncarnation', { options: profiles.lateAcknowledgements }),
  replication('currentEpochAcknowledgements', { options: profiles.lateAcknowledgements }),
  replication('committedCappedAtMatched', { options: profiles.smallMessages }),
  replication('deposedStartsEmpty'),
  replication('removalLearnedFirst'),
  replication('countBeforeAsking'),
  replication('learnerAcknowledgedCommitted'),
  replication('learnerAppliedLastChunk'),
  replication('logFromFirstChunk'),
  replication('minInSyncAtAnswer', { options: { ...profiles.slowNetwork, minInSync: 2 } }),
  replication('readNeedsPromises'),
  replication('promisesOfAll', { options: profiles.planned, faults: scenarios.staggered }),
  replication('countedLearnerPromises', { options: profiles.lonely, ambush: scenarios.atAddition }),
  replication('promiseOfAppliedVersion', { options: profiles.slowThreads }),
  replication('readCheckAfterReceipt', { options: profiles.plannedCrowd, faults: scenarios.frozen }),
  replication('readWaitsForCommit'),
  replication('promiseOnlyAtEqualVersions', { options: profiles.fewTables }),
  replication('promotedStopsPromising', { options: profiles.slowThreads }),
  replication('promiseFromSendTime', { options: profiles.slowAnswers }),
  replication('promiseMargin', { options: profiles.suspicious }),
  replication('promisesBoundToIncarnation', { options: profiles.slowNetwork }),
  replication('waitAfterPromotion', { options: profiles.suspicious }),
  replication('waitForAllEarlierPrimaries', { options: profiles.plannedFive, faults: scenarios.twice }),
  replication('waitAfterGivingUp', { options: profiles.slowCopies, faults: scenarios.cutOff, ambush: scenarios.afterPromotion }),
  replication('stopBeforeHandOver', { options: profiles.restless }),
  replication('drainBeforeHandOver', { options: profiles.restless }),
  replication('onlyServingHandsOver', { options: profiles.plannedFour, faults: scenarios.leaver }),
  replication('deduplicate'),
  replication('snapshotHoldsDeduplication', { options: profiles.restless }),
  replication('recordedAnswerWaits'),
  replication('unknownTicketRefused', { options: profiles.lateCalls }),
  membership('requestsBoundToEpoch', { options: profiles.lateRequests }),
  membership('casNamesIncarnation'),
  membership('promotionRemovesOldPrimary', { options: profiles.slowNetwork }),
  membership('lastReplicaStays', { options: profiles.suspicious }),
  membership('onlyDeadGivenUp', { options: profiles.plannedPair, faults: scenarios.rashOperator }),
  driver('expiryIsAnEffect', { options: profiles.shortLived }),
  driver('freshIncarnation'),
]

/** What goes with a seed of the variant; `isWhole`: with all rules. */
export const extrasOf = (variant: Variant, seed: number, isWhole = false): RunExtras => ({
  ...(isWhole ? {} : { rules: variant.rules }),
  ...(variant.faults === undefined ? {} : { faults: variant.faults(seed) }),
  ...(variant.ambush === undefined ? {} : { ambush: variant.ambush }),
})
