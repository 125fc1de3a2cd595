const copyBytes = Buffer.prototype.copy

/** Copies `source[start..end)` to `target` at `at`; returns where it ends. Allocates nothing; a loop beats the call for what is short. */
export function copyInto(target: Uint8Array, at: number, source: Uint8Array, start: number, end: number): number {
  const length = end - start
  if (length <= 128) {
    for (let i = 0; i < length; i += 1) target[at + i] = source[start + i] as number
  } else {
    copyBytes.call(source, target, at, start, end)
  }
  return at + length
}
