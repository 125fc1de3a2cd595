/** Labels (a function's name, `job/stage`) that were stopped too often: they are refused until they are deployed again. */
export class Quarantine {
  readonly #stopsMax: number
  readonly #labelsMax: number
  // Insertion order is age.
  readonly #stops = new Map<string, number>()

  /** Above `labelsMax` labels the one that was stopped first is forgotten, and so gets its chances anew. */
  constructor(stopsMax = 3, labelsMax = 1024) {
    this.#stopsMax = stopsMax
    this.#labelsMax = labelsMax
  }

  /** How often the label was stopped, this time included. */
  recordStop(label: string): number {
    const stops = (this.#stops.get(label) ?? 0) + 1
    this.#stops.set(label, stops)
    const [oldest] = this.#stops.keys()
    if (this.#stops.size > this.#labelsMax && oldest !== undefined) this.#stops.delete(oldest)
    return stops
  }

  holds(label: string): boolean {
    return this.#stops.size > 0 && (this.#stops.get(label) ?? 0) >= this.#stopsMax
  }

  clear(label: string): void {
    this.#stops.delete(label)
  }

  get labels(): readonly string[] {
    return [...this.#stops].filter(([, stops]) => stops >= this.#stopsMax).map(([label]) => label)
  }
}
