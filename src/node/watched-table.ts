/**
 * The values under one prefix of the coordinator, as JSON, kept up to date by a watch.
 *
 * Owns: the local copy. It may be behind the coordinator; who decides something reads or compares and sets there.
 */
import { NearstateError } from '../base/errors.ts'
import type { Coordinator } from '../membership/coordinator-port.ts'

export class WatchedTable<T> {
  readonly #rows = new Map<string, T>()
  readonly #watch: { stop(): void }
  readonly #caughtUp = Promise.withResolvers<void>()

  /** `onChange` is called with each name whose value changed, after the copy has. */
  constructor(coordinator: Coordinator, prefix: string, onChange: (name: string) => void = () => {}) {
    this.#watch = coordinator.watch(prefix, {
      onValue: ({ key, value }) => {
        const name = key.slice(prefix.length)
        this.#rows.set(name, decodeJson<T>(value))
        onChange(name)
      },
      onDelete: key => {
        const name = key.slice(prefix.length)
        if (this.#rows.delete(name)) onChange(name)
      },
      onCaughtUp: () => this.#caughtUp.resolve(),
    })
  }

  /** Everything that was there at the start is in the copy. */
  get caughtUp(): Promise<void> {
    return this.#caughtUp.promise
  }

  get(name: string): T | undefined {
    return this.#rows.get(name)
  }

  entries(): IterableIterator<[string, T]> {
    return this.#rows.entries()
  }

  values(): IterableIterator<T> {
    return this.#rows.values()
  }

  stop(): void {
    this.#watch.stop()
  }
}

export const encodeJson = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))

/** What this software wrote itself: its shape is trusted. */
export const decodeJson = <T>(bytes: Uint8Array): T =>
  JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')) as T

const attemptsMax = 50

/**
 * Changes one JSON value by compare-and-set, again when somebody else was first. `change` gets the current value and answers
 * the new one, or undefined to leave it as it is; it may throw to refuse. Resolves with the value that is there at the end.
 */
export async function updateJson<T>(
  coordinator: Coordinator,
  key: string,
  change: (current: T | undefined) => T | undefined,
): Promise<T | undefined> {
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    const stored = await coordinator.read(key)
    const current = stored === undefined ? undefined : decodeJson<T>(stored.value)
    const next = change(current)
    if (next === undefined) return current
    const outcome = await coordinator.compareAndSet(key, stored?.version ?? 0, encodeJson(next))
    if (outcome.kind === 'done') return next
  }
  throw new NearstateError('UNAVAILABLE', `Cannot write "${key}" in the coordinator: ${attemptsMax} attempts in a row met another writer`)
}
