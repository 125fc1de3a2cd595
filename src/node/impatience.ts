/** Whether a signal comes from someone who has lost patience: not the first, and not its echo (npm passes on what the terminal sent already). */
export function impatience(): () => boolean {
  let firstAtMs: number | undefined
  return () => {
    firstAtMs ??= performance.now()
    return performance.now() - firstAtMs > 1000
  }
}
