/** What was started, to be stopped in the reverse order. A stop that fails does not keep the others from stopping. */
export class StopStack {
  readonly #stops: (() => Promise<void> | void)[] = []
  #done: Promise<void> | undefined

  push(stop: () => Promise<void> | void): void {
    this.#stops.push(stop)
  }

  /** Runs once; who calls again waits for the same end. `onError` hears of every stop that failed. */
  run(onError: (error: unknown) => void = () => {}): Promise<void> {
    this.#done ??= this.#run(onError)
    return this.#done
  }

  async #run(onError: (error: unknown) => void): Promise<void> {
    for (let stop = this.#stops.pop(); stop !== undefined; stop = this.#stops.pop()) {
      try {
        await stop()
      } catch (error) {
        onError(error)
      }
    }
  }
}
