/** How often each kind of fault and each arrow of the protocol happened. The names are closed lists: none may stay at zero over a long run. */
export class Counters {
  readonly #counts = new Map<string, number>()

  add(name: string, count = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + count)
  }

  get(name: string): number {
    return this.#counts.get(name) ?? 0
  }

  merge(other: Counters): void {
    for (const [name, count] of other.#counts) this.add(name, count)
  }

  rows(): readonly (readonly [string, number])[] {
    return [...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1))
  }

  missing(names: readonly string[]): readonly string[] {
    return names.filter(name => this.get(name) === 0)
  }
}
