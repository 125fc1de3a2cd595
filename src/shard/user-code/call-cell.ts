/**
 * The memory in which a shard tells its control thread that user code runs, and the control thread answers "to be stopped".
 * Both sides go through this file.
 *
 *   word 0  call   0: no user code runs.  n > 0: call n runs.  -n: call n is to be stopped; a termination is on its way.
 *   word 1  turn   0: the event loop has come round since user code last ran.  n: not yet, since slice n
 *
 * One word carries both the call and its stop, so the two sides race over one compare-and-set: either the shard leaves first and
 * no termination is sent, or the mark is set first and the shard waits for it at a safe point (protocols.md section 8, rule 3).
 *
 * 1. Only the shard makes word 0 positive or zero; only the control thread makes it negative, and then always sends a termination.
 * 2. Call numbers are fresh: they wrap after 2^31 calls, far more than can pass between two looks.
 */
const callWord = 0
const turnWord = 1

export type CallCell = Int32Array<SharedArrayBuffer>

/** Made by the control thread, handed to the worker in ShardStart. */
export const createCallCell = (): SharedArrayBuffer => new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT)
export const callCellOver = (memory: SharedArrayBuffer): CallCell => new Int32Array(memory)

// The shard's side.

export const nextCallNumber = (n: number): number => (n === 0x7fffffff ? 1 : n + 1)

export const enterCall = (cell: CallCell, call: number): void => void Atomics.store(cell, callWord, call)

/** False: the call is to be stopped, and its frame must wait for that in `awaitTermination`. */
export const leaveCall = (cell: CallCell, call: number): boolean => Atomics.compareExchange(cell, callWord, call, 0) === call

/** Returns only when no termination has come for `timeoutMs`. */
export const awaitTermination = (cell: CallCell, call: number, timeoutMs: number): void =>
  void Atomics.wait(cell, callWord, -call, timeoutMs)

/** The turn after a stop: no call runs. */
export const clearCall = (cell: CallCell): void => void Atomics.store(cell, callWord, 0)

export const beginTurn = (cell: CallCell, slice: number): void => void Atomics.store(cell, turnWord, slice)
export const endTurn = (cell: CallCell): void => void Atomics.store(cell, turnWord, 0)

// The control thread's side.

/** The call that runs, 0 if none does, negative if it is to be stopped. */
export const currentCall = (cell: CallCell): number => Atomics.load(cell, callWord)

/** The slice whose turn of the event loop has not ended; 0: none. */
export const currentTurn = (cell: CallCell): number => Atomics.load(cell, turnWord)

/** True: `call` still runs and is to be stopped now; the termination must be sent. */
export const markForStop = (cell: CallCell, call: number): boolean => Atomics.compareExchange(cell, callWord, call, -call) === call
