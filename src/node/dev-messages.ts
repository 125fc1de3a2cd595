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
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string }
