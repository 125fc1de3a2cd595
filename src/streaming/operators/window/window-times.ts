/**
 * The arithmetic of windows of one size, aligned to the epoch, that begin every so often: [k * every, k * every + size).
 *
 * A pane is as long as the greatest common divisor of size and every, so that each window is a whole number of panes and each row
 * falls into one pane. Tumbling windows are the special case of one pane per window.
 */
export interface WindowTimes {
  readonly sizeMs: number
  readonly everyMs: number
  readonly paneMs: number
}

export function windowTimes(sizeMs: number, everyMs: number): WindowTimes {
  return { sizeMs, everyMs, paneMs: divisorOf(sizeMs, everyMs) }
}

function divisorOf(a: number, b: number): number {
  return b === 0 ? a : divisorOf(b, a % b)
}

export const paneStartOf = ({ paneMs }: WindowTimes, time: number): number => Math.floor(time / paneMs) * paneMs

/** End of the last window that holds the pane; not after the pane's start when it falls between windows. */
export const lastEndOf = ({ everyMs, sizeMs }: WindowTimes, paneStart: number): number => Math.floor(paneStart / everyMs) * everyMs + sizeMs

/** End of the first window that holds the pane. */
export const firstEndOf = ({ everyMs, sizeMs }: WindowTimes, paneStart: number): number =>
  (Math.floor((paneStart - sizeMs) / everyMs) + 1) * everyMs + sizeMs

/** The first window that ends after `end`, among those in the grid of ends. */
export const endAfter = ({ everyMs, sizeMs }: WindowTimes, end: number): number =>
  (Math.floor((end - sizeMs) / everyMs) + 1) * everyMs + sizeMs
