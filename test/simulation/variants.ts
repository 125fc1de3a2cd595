/**
 * The protocol with one rule taken away each: rows of protocol-variants.md. Every broken one must be caught, or the checkers and the
 * bad luck of the simulation are worth nothing. Those in which a rule is put in another, right way must stay green.
 */
import { hostileRun, type SimulationOptions } from './options.ts'
import { type AllRules, allRules } from './simulation.ts'

export interface Variant {
  readonly name: string
  readonly rules: AllRules
  readonly options: SimulationOptions
  /** Seeds from here on are tried until one catches it. */
  readonly fromSeed: number
}

const replication = (off: keyof AllRules['replication'], options: Partial<SimulationOptions> = {}, fromSeed = 1): Variant => ({
  name: off,
  rules: { ...allRules, replication: { ...allRules.replication, [off]: false } },
  options: { ...hostileRun, ...options },
  fromSeed,
})

const membership = (off: keyof AllRules['membership'], options: Partial<SimulationOptions> = {}, fromSeed = 1): Variant => ({
  name: off,
  rules: { ...allRules, membership: { ...allRules.membership, [off]: false } },
  options: { ...hostileRun, ...options },
  fromSeed,
})

const driver = (off: keyof AllRules['driver'], options: Partial<SimulationOptions> = {}, fromSeed = 1): Variant => ({
  name: off,
  rules: { ...allRules, driver: { ...allRules.driver, [off]: false } },
  options: { ...hostileRun, ...options },
  fromSeed,
})

export const brokenVariants: readonly Variant[] = [
  replication('cutDifferingTail'),
  replication('acknowledgeOnlyMessage'),
  replication('refuseOlderEpoch'),
  replication('learnNewerEpochFirst'),
  replication('acknowledgementsOfAll'),
  replication('acknowledgementsBoundToIncarnation'),
  replication('currentEpochAcknowledgements'),
  replication('committedCappedAtMatched'),
  replication('deposedStartsEmpty'),
  replication('removalLearnedFirst'),
  replication('countBeforeAsking'),
  replication('learnerAcknowledgedCommitted'),
  replication('learnerAppliedLastChunk'),
  replication('logFromFirstChunk'),
  replication('minInSyncAtAnswer', { minInSync: 2 }),
  replication('readNeedsPromises'),
  replication('promisesOfAll'),
  replication('countedLearnerPromises'),
  replication('promiseOfAppliedVersion'),
  replication('readCheckAfterReceipt'),
  replication('readWaitsForCommit'),
  replication('promiseOnlyAtEqualVersions'),
  replication('promotedStopsPromising'),
  replication('promiseFromSendTime'),
  replication('promiseMargin'),
  replication('promisesBoundToIncarnation'),
  replication('waitAfterPromotion'),
  replication('waitForAllEarlierPrimaries'),
  replication('waitAfterGivingUp'),
  replication('stopBeforeHandOver'),
  replication('drainBeforeHandOver'),
  replication('onlyServingHandsOver'),
  replication('deduplicate'),
  replication('snapshotHoldsDeduplication'),
  replication('recordedAnswerWaits'),
  replication('unknownTicketRefused'),
  membership('requestsBoundToEpoch'),
  membership('casNamesIncarnation'),
  membership('promotionRemovesOldPrimary'),
  membership('lastReplicaStays'),
  membership('onlyDeadGivenUp'),
  driver('expiryIsAnEffect', { timedPart: 0.6 }),
  driver('freshIncarnation'),
]
