const copyBytes = Buffer.prototype.copy

/** Below it a loop beats the call; four bytes at a time, since each step of a loop costs more than the byte. */
const loopMax = 64

/** Copies `source[start..end)` to `target` at `at`, and answers where it ends. The two do not overlap. Allocates nothing. */
export function copyInto(target: Uint8Array, at: number, source: Uint8Array, start: number, end: number): number {
  const last = at + end - start
  if (end - start > loopMax) {
    copyBytes.call(source, target, at, start, end)
    return last
  }
  let from = start
  let to = at
  for (const fours = end - 3; from < fours; from += 4, to += 4) {
    target[to] = source[from] as number
    target[to + 1] = source[from + 1] as number
    target[to + 2] = source[from + 2] as number
    target[to + 3] = source[from + 3] as number
  }
  for (; from < end; from += 1, to += 1) target[to] = source[from] as number
  return last
}
