/** Between `nearstate dev` and the node processes it started, over Node's IPC channel. A closed channel means: stop. */
import type { ErrorCode } from '../base/errors.ts'

export type ToDevNode =
  /** The whole cluster stops: nothing is handed over, nothing is mourned. */
  { readonly kind: 'stop' }

export type FromDevNode =
  /** Listens, and asks to join: sent before `ready`. */
  | { readonly kind: 'listening'; readonly address: string; readonly http: string }
  /** Has joined and serves. */
  | { readonly kind: 'ready' }
  /** It was asked to leave the cluster, and has left; it ends now and is not to be replaced. */
  | { readonly kind: 'left' }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string }
