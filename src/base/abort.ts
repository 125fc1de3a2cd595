/** A function, since the compiler takes `aborted` for a constant once it was looked at. */
export const isAborted = (signal: AbortSignal): boolean => signal.aborted
