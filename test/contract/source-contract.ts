/** What every connector must do (src/streaming/source.ts). Run it with bounded options. */
import { describe, expect, it } from 'vitest'
import type { SourceBatch, SourceConnector, SourceOptions, SplitListener, SplitReader } from '../../src/streaming/source.ts'

interface Given {
  readonly connector: SourceConnector
  readonly options: SourceOptions
  /** All records of all splits, in the order of splits. */
  readonly records: readonly unknown[]
}

export function sourceContract(name: string, given: () => Given | Promise<Given>): void {
  describe(`the source contract: ${name}`, () => {
    it('lists the same splits in the same order every time, each with an id of its own', async () => {
      const { connector, options } = await given()
      const splits = await connector.listSplits(options)
      expect(await connector.listSplits(options)).toEqual(splits)
      expect(new Set(splits.map(split => split.id)).size).toBe(splits.length)
      expect(JSON.parse(JSON.stringify(splits))).toEqual(splits)
    })

    it('gives every record once, with its line, and then stays at the end', async () => {
      const { connector, options, records } = await given()
      const taken: unknown[] = []
      for (const split of await connector.listSplits(options)) {
        const listener = new Listener()
        const reader = connector.open(options, split, listener)
        for (const batch of await drain(reader, listener)) {
          expect(batch.lines).toHaveLength(batch.records.length)
          expect(batch.origin).not.toBe('')
          taken.push(...batch.records)
        }
        expect(reader.take()).toBe('end')
        reader.close()
      }
      expect(taken).toEqual(records)
    })

    it('calls nothing after close, also when closed at once or twice', async () => {
      const { connector, options } = await given()
      const [split] = await connector.listSplits(options)
      if (split === undefined) throw new Error('no split')
      for (const wait of [undefined, 0, 1, 10]) {
        const listener = new Listener()
        const reader = connector.open(options, split, listener)
        if (wait !== undefined) await new Promise(resolve => setTimeout(resolve, wait))
        reader.close()
        reader.close()
        const calls = listener.calls
        await new Promise(resolve => setTimeout(resolve, 30))
        expect(listener.calls).toBe(calls)
      }
    })
  })
}

class Listener implements SplitListener {
  calls = 0
  #wake: () => void = () => undefined

  onReady(): void {
    this.calls += 1
    this.#wake()
  }

  /** Resolves at the next call. */
  async next(): Promise<void> {
    await new Promise<void>(resolve => (this.#wake = resolve))
  }
}

/** Takes as the engine does: it asks again only after onReady. */
async function drain(reader: SplitReader, listener: Listener): Promise<readonly SourceBatch[]> {
  const batches: SourceBatch[] = []
  for (;;) {
    const ready = listener.next()
    const taken = reader.take()
    if (taken === 'end') return batches
    if (taken === undefined) await ready
    // A reader may use the records' array again.
    else batches.push({ ...taken, records: [...taken.records], lines: [...taken.lines] })
  }
}
