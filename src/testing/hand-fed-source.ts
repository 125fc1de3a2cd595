/**
 * A source that a test feeds: per split a log of what was pushed, read from any position as often as it takes. It keeps what a
 * replayable source keeps, so a restarted job reads it again from its checkpoint.
 *
 * A record in the engine is a `Fed`: the row as it is, or what the source's own decoder makes a row of; with its own event time
 * where the test gave one.
 */
import type { Split } from '../streaming/assignment.ts'
import type { StageNode } from '../streaming/graph/stage-spec.ts'
import type { SourceBatch, SplitReader } from '../streaming/source.ts'

interface Fed {
  readonly value: unknown
  readonly isRow: boolean
  readonly time: number | undefined
}

type Item = { readonly kind: 'record'; readonly fed: Fed } | { readonly kind: 'watermark'; readonly watermark: number }

/** Everything that was pushed into one split. */
export class SplitLog {
  readonly split: Split
  readonly #stage: string
  readonly #batchRows: number
  readonly #items: Item[] = []
  #hasEnded = false

  constructor(stage: string, index: number, batchRows: number) {
    this.#stage = stage
    this.#batchRows = batchRows
    this.split = { id: `${stage}/${index}`, descriptor: { index } }
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  push(value: unknown, isRow: boolean, time: number | undefined): void {
    this.#items.push({ kind: 'record', fed: { value, isRow, time } })
  }

  say(watermark: number): void {
    this.#items.push({ kind: 'watermark', watermark })
  }

  end(): void {
    this.#hasEnded = true
  }

  /** `position`: how many items lie before. */
  open(position = 0): SplitReader {
    let at = position
    const take = (): SourceBatch | 'end' | undefined => {
      const first = this.#items[at]
      if (first === undefined) return this.#hasEnded ? 'end' : undefined
      if (first.kind === 'watermark') {
        at += 1
        return { origin: this.#stage, records: [], lines: [], rejected: [], watermark: first.watermark }
      }
      const position = at
      const records: Fed[] = []
      const lines: number[] = []
      for (let item: Item | undefined = first; item?.kind === 'record' && records.length < this.#batchRows; item = this.#items[at]) {
        records.push(item.fed)
        at += 1
        lines.push(at)
      }
      return { origin: this.#stage, records, lines, rejected: [], position }
    }
    return { take, close: () => {} }
  }
}

/** The node of a source stage, made to read what the test feeds: rows as they are, records by the source's own decoder. */
export function handFed(node: StageNode): StageNode {
  const { spec } = node
  if (spec.kind !== 'source') return node
  let time: number | undefined
  const decode = (record: unknown): unknown => {
    const fed = record as Fed
    time = fed.time
    return fed.isRow || spec.source.decode === undefined ? fed.value : spec.source.decode(fed.value)
  }
  const { eventTime } = spec
  const at = eventTime === undefined ? undefined : { ...eventTime, at: (row: unknown): unknown => time ?? eventTime.at(row) }
  return { ...node, spec: { ...spec, source: { ...spec.source, decode }, eventTime: at } }
}
