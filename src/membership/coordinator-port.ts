/**
 * What Nearstate needs of a coordinator: a small, strongly consistent store of versioned values with watches and sessions.
 * Fits etcd, and the Kubernetes API (ConfigMap and Lease with resourceVersion). One contract suite for all: test/contract.
 *
 * Kept small so that both fit: one key a write, no transaction over several; a watch that may have to list anew; sessions that are
 * keys of their own, never written by compare-and-set. (Kubernetes ends no Lease by itself: its adapter hides one that was not renewed,
 * and reports it as deleted.)
 */
export interface CoordinatorValue {
  readonly key: string
  readonly value: Uint8Array
  /** Above 0; grows with every write to the key, also when it was deleted in between. */
  readonly version: number
}

export type CasOutcome =
  /** `version` is the new one; 0 after a delete. */
  | { readonly kind: 'done'; readonly version: number }
  /** Somebody else was first; `version` is what is there now (0: nothing). */
  | { readonly kind: 'conflict'; readonly version: number }

export interface WatchListener {
  onValue(value: CoordinatorValue): void
  onDelete(key: string): void
  /**
   * All values that were there at the start have been reported. After a broken connection the watch goes on where it was; where that
   * cannot be done, everything is reported again, then what has vanished as deleted, then this.
   */
  onCaughtUp?(): void
}

export interface Session {
  /**
   * Resolves when the session was closed, or when the coordinator says that it has lapsed: its key is gone, others may suspect this
   * process, and it opens another session. Does not resolve while the coordinator is out of reach, however long: whether the session
   * is still there is known only then.
   */
  readonly lapsed: Promise<void>
  close(): Promise<void>
}

/** The reason why a session could not be renewed for a whole time to live; undefined: the coordinator is within reach again. */
export type OnReach = (outBecause: string | undefined) => void

/**
 * Calls reject with NearstateError: UNAVAILABLE within a few seconds when the coordinator cannot be reached, and the outcome of a CAS is
 * then unknown; UNAUTHENTICATED, PERMISSION_DENIED, INVALID_ARGUMENT, RESOURCE_EXHAUSTED when it refuses.
 */
export interface Coordinator {
  /** For people: `embedded`, `embedded at 127.0.0.1:7399`, `etcd ...`. */
  readonly description: string
  read(key: string): Promise<CoordinatorValue | undefined>
  list(prefix: string): Promise<readonly CoordinatorValue[]>
  /** Writes `value` (undefined: deletes) if the version is `expectedVersion` (0: only if there is none). */
  compareAndSet(key: string, expectedVersion: number, value: Uint8Array | undefined): Promise<CasOutcome>
  /** Reports current values, then every change, until stopped. Reconnects by itself. */
  watch(prefix: string, listener: WatchListener): { stop(): void }
  /**
   * A value under `key` that is deleted `ttlMs` after this process last renewed it, never earlier, and somewhat later where the
   * coordinator counts in seconds. Renews by itself, three times in that time, through outages of any length.
   * ALREADY_EXISTS while there is a value under the key. After UNAVAILABLE the key may be there until `ttlMs` have passed.
   */
  openSession(key: string, value: Uint8Array, ttlMs: number, onReach?: OnReach): Promise<Session>
  close(): Promise<void>
}
