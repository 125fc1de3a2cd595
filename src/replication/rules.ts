/**
 * The protocol's rules by name, so that the simulator can take one away and show that its checkers notice.
 * All are true in production: its constructors are called without rules. Each is looked at where the rule stands.
 */
export const everyRule = {
  // Log
  cutDifferingTail: true,
  acknowledgeOnlyMessage: true,
  refuseOlderEpoch: true,
  /** A newer epoch is learned before anything of it is accepted. */
  learnNewerEpochFirst: true,
  acknowledgementsOfAll: true,
  acknowledgementsBoundToIncarnation: true,
  currentEpochAcknowledgements: true,
  committedCappedAtMatched: true,
  deposedStartsEmpty: true,
  // In-sync set
  removalLearnedFirst: true,
  countBeforeAsking: true,
  learnerAcknowledgedCommitted: true,
  learnerAppliedLastChunk: true,
  logFromFirstChunk: true,
  minInSyncAtAnswer: true,
  // Reads and promises
  readNeedsPromises: true,
  promisesOfAll: true,
  countedLearnerPromises: true,
  promiseOfAppliedVersion: true,
  readCheckAfterReceipt: true,
  readWaitsForCommit: true,
  promiseOnlyAtEqualVersions: true,
  promotedStopsPromising: true,
  promiseFromSendTime: true,
  promiseMargin: true,
  promisesBoundToIncarnation: true,
  waitAfterPromotion: true,
  waitForAllEarlierPrimaries: true,
  waitAfterGivingUp: true,
  // Hand-over
  stopBeforeHandOver: true,
  drainBeforeHandOver: true,
  onlyServingHandsOver: true,
  // De-duplication
  deduplicate: true,
  snapshotHoldsDeduplication: true,
  recordedAnswerWaits: true,
  unknownTicketRefused: true,
} as const satisfies Record<string, true>

export type ReplicationRules = { readonly [Name in keyof typeof everyRule]: boolean }
