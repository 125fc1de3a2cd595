/** One piece of work that enters user code: an invoke, a job's batch. See protocols.md section 8. */
export interface SliceTask {
  /**
   * Who is judged: a function's name, or `job/stage`. After three stops it is quarantined. Asked before `run`, and again when it
   * was cut off: a task that passes through several stages then names the one that was at work.
   */
  readonly label: string
  /** The job whose code it is; its label is `job/stage` then. */
  readonly job?: string
  /** False: being cut off does not count against the label, because the task comes again in smaller pieces. Default true. */
  readonly stopCounts?: boolean
  /** What lifts the quarantine, for people. Default: to deploy it again. */
  readonly liftedBy?: string
  /** Runs user code and keeps its outcome aside. Must not change core state: it can be cut off at any point. */
  run(): void
  /** `run` has returned: core state may change now. */
  finish(): void
  /** `run` has thrown. */
  failed(thrown: unknown): void
  /** `run` was cut off because it ran for too long; or it never began, or must not again, because its label is `quarantined`. */
  stopped(message: string, quarantined: boolean): void
}

/** Runs tasks in order, in slices that a message of the shard's own MessagePort starts. */
export interface Slices {
  schedule(task: SliceTask): void
  /** Tasks scheduled and not yet finished. */
  readonly backlog: number
}
