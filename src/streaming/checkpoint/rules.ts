/**
 * The rules of checkpoints by name (protocol-variants.md, Streams), so that the simulator can take one away and show that its
 * checkers notice. All are true in production: constructors are called without rules. Each is looked at where the rule stands: in the
 * master's machine, a task, MemoryState; those marked (driver) by what drives them, since the rule is the driver's.
 */
export const everyCheckpointRule = {
  // Master
  /** The restore point is taken over from (b, c) only if c > 0. */
  restorePointNeedsCommit: true,
  /** The CAS of the record is against the version read. */
  casAgainstVersionRead: true,
  /** A master takes a record for its own only when it bears its name: a rival's may say the same. */
  recordNamesMaster: true,
  /** Answers count for the attempt that they name. */
  answersBoundToAttempt: true,
  /** No next barrier before the outcome of the CAS is known. */
  outcomeKnownBeforeNext: true,
  /** Another primary of any partition ends the attempt (driver). */
  primaryChangeEndsAttempt: true,
  /** What an attempt has opened ends with the primary's term: a shard that is primary again after another one has lost writes (driver). */
  storeBoundToTerm: true,
  /** A savepoint is done only when the sinks have committed its checkpoint. */
  savepointAfterSinks: true,
  // Starts
  /** A partition refuses a start not above its last one, and all of older attempts. */
  startFencedInPartition: true,
  /** The start is in the partition's log, not in memory (driver). */
  startInLog: true,
  /** A partition refuses a second start of one attempt. */
  noSecondStart: true,
  /** A partition without the restore point's barrier record is refused. */
  restoreChecksBarrierRecord: true,
  watermarksRestored: true,
  /** The list of splits and their start positions are taken from the checkpoint (driver). */
  splitsFromCheckpoint: true,
  // Frames
  /** Frames are sent only to a receiver that has begun the attempt. */
  noFrameBeforeBegun: true,
  lostFrameEndsAttempt: true,
  /** Frames of other attempts are dropped (driver). */
  oldFramesRefused: true,
  // Barriers and state
  /** A barrier is answered only when what it wrote is committed. */
  answerAfterCommit: true,
  barrierRecordAlways: true,
  /** Rows of asynchronous calls that are under way at a barrier are part of its checkpoint. */
  asynchronousRowsRecorded: true,
  unwrittenStaysDirty: true,
  /** A key that is dirty for a barrier passed is written before it changes again. */
  writtenBeforeChange: true,
  /** A timer's tombstone waits for the barrier. */
  timerTombstoneAtBarrier: true,
  // Slots
  slotsMarkedWithAttempt: true,
  deadSlotsFreedFirst: true,
  tombstoneRemovedOnlyWhenValid: true,
  writeSparesNewestValid: true,
  /** Offsets and handles are fenced as all state is (driver: they come to their home partition from another shard). */
  offsetsFenced: true,
  /** A slot that a savepoint needs is copied before it is overwritten (driver: MemoryState copies at once). */
  savepointCopiesFirst: true,
  // Sinks and sources
  outputsCommittedAfterCas: true,
  newAttemptCommitsHandles: true,
  stoppingKeepsPrepared: true,
  givenUpOutputKept: true,
  upstreamReleasedAfterCommit: true,
} as const

export type CheckpointRules = Readonly<Record<keyof typeof everyCheckpointRule, boolean>>
