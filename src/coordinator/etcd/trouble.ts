/** Tells once that something does not work any more, and once that it does again. */

export interface TroubleReport {
  /** `etcd at 10.0.0.1:2379`, `the watch of "sessions/"`. */
  readonly what: string
  /** Undefined: it works again. */
  readonly reason: string | undefined
}

export type OnTrouble = (report: TroubleReport) => void

export class Trouble {
  readonly #what: string
  readonly #onTrouble: OnTrouble
  #isTold = false

  constructor(what: string, onTrouble: OnTrouble) {
    this.#what = what
    this.#onTrouble = onTrouble
  }

  begin(reason: string): void {
    if (this.#isTold) return
    this.#isTold = true
    this.#onTrouble({ what: this.#what, reason })
  }

  end(): void {
    if (!this.#isTold) return
    this.#isTold = false
    this.#onTrouble({ what: this.#what, reason: undefined })
  }
}
