/** What happened, for people: the last lines of a run, each with its true time and who it happened to. */
export class Trace {
  readonly #limit: number
  #lines: string[] = []
  readonly #isOn: boolean

  constructor(isOn: boolean, limit = 300_000) {
    this.#isOn = isOn
    this.#limit = limit
  }

  get isOn(): boolean {
    return this.#isOn
  }

  /** `what` is only made when somebody wants to read it. */
  add(nowMs: number, who: string, what: () => string): void {
    if (!this.#isOn) return
    this.#lines.push(`${nowMs.toFixed(2).padStart(9)}  ${who.padEnd(12)} ${what()}`)
    if (this.#lines.length > 2 * this.#limit) this.#lines = this.#lines.slice(-this.#limit)
  }

  lines(): readonly string[] {
    return this.#lines.slice(-this.#limit)
  }
}
