import { type Duration, parseDuration } from '../../base/duration.ts'
import { invalidArgument } from '../../base/errors.ts'

export interface WindowSpec {
  readonly kind: 'tumbling'
  readonly sizeMs: number
}

/** Windows of one size, side by side, aligned to the epoch: an event at t falls into [t - t mod size, + size). */
export function tumbling(size: Duration): WindowSpec
export function tumbling(size: Duration, ...more: unknown[]): WindowSpec {
  if (more.length > 0) throw invalidArgument('Cannot make a window: tumbling takes its size and nothing else')
  const sizeMs = parseDuration(size, 'window size')
  if (sizeMs < 1) throw invalidArgument(`Cannot make a window: its size is "${size}", at least "1ms" is wanted`)
  return { kind: 'tumbling', sizeMs }
}
