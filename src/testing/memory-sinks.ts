/** The node's sinks as a test has them: rows in memory, prepared and made visible by the same rules. Outlives attempts. */
import type { NearstateError } from '../base/errors.ts'
import type { SinkConnector, SinkHandle, SinkListener, SinkOptions, SinkTask, SinkWriter } from '../streaming/sink.ts'

interface Prepared {
  readonly stage: string
  readonly attempt: number
  readonly rows: readonly unknown[]
}

export class MemorySinks implements SinkConnector {
  readonly kind = 'memory'
  readonly #prepared = new Map<SinkHandle, Prepared>()
  readonly #visible = new Map<string, unknown[]>()

  visibleOf(stage: string): readonly unknown[] {
    return this.#visible.get(stage) ?? []
  }

  open(_options: SinkOptions, { stage, attempt, task }: SinkTask, listener: SinkListener): SinkWriter {
    let rows: unknown[] = []
    return {
      failure: undefined,
      write: more => {
        for (const row of more) rows.push(row)
        return true
      },
      prepare: n => {
        const handle = rows.length === 0 ? undefined : JSON.stringify([stage, attempt, n, task])
        if (handle !== undefined) this.#prepared.set(handle, { stage, attempt, rows })
        rows = []
        listener.onPrepared(n, handle)
      },
      close: () => undefined,
    }
  }

  commit(_options: SinkOptions, handle: SinkHandle, done: (error?: NearstateError) => void): void {
    const prepared = this.#prepared.get(handle)
    this.#prepared.delete(handle)
    if (prepared !== undefined) this.#visible.set(prepared.stage, [...this.visibleOf(prepared.stage), ...prepared.rows])
    done()
  }

  endOthers(_options: SinkOptions, { stage, attempt }: Omit<SinkTask, 'task'>, done: (error?: NearstateError) => void): void {
    for (const [handle, prepared] of this.#prepared) {
      if (prepared.stage === stage && prepared.attempt < attempt) this.#prepared.delete(handle)
    }
    done()
  }
}
