/**
 * What Nearstate needs of a coordinator: a small, strongly consistent store of versioned values with watches and sessions.
 * Fits etcd, and the Kubernetes API (ConfigMap and Lease with resourceVersion). One contract suite for all: test/contract.
 */
export interface CoordinatorValue {
  readonly key: string
  readonly value: Uint8Array
  /** Above 0; grows with every write to the key. */
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
  /** All values that were there at the start have been reported. After a reconnect everything is reported again, deletions included. */
  onCaughtUp?(): void
}

export interface Session {
  /** Resolves when the session has lapsed or was closed; the node must then act as if it were dead. */
  readonly lapsed: Promise<void>
  close(): Promise<void>
}

/** Calls reject with NearstateError UNAVAILABLE when the coordinator cannot be reached; the outcome of a CAS is then unknown. */
export interface Coordinator {
  /** For people: `embedded`, `embedded at 127.0.0.1:7399`, `etcd ...`. */
  readonly description: string
  read(key: string): Promise<CoordinatorValue | undefined>
  list(prefix: string): Promise<readonly CoordinatorValue[]>
  /** Writes `value` (undefined: deletes) if the version is `expectedVersion` (0: only if there is none). */
  compareAndSet(key: string, expectedVersion: number, value: Uint8Array | undefined): Promise<CasOutcome>
  /** Reports current values, then every change, until stopped. Reconnects by itself. */
  watch(prefix: string, listener: WatchListener): { stop(): void }
  /** A value under `key` that is deleted `ttlMs` after this process last renewed it. Renews by itself. */
  openSession(key: string, value: Uint8Array, ttlMs: number): Promise<Session>
  close(): Promise<void>
}
