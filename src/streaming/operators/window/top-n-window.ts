/** The first n rows of each key and window by a comparison; when the window closes, a row for each rank from 1. */
import type { KeyCodec } from '../../../keys/key-codec.ts'
import type { StageState } from '../../state/stage-state.ts'
import type { Batch } from '../batch.ts'
import { type Compare, decodeRanking, encodeRanking, type Ranked, rankOf, withRanked } from '../ranking.ts'
import { type Undoable, type Unit, UnitSignal } from '../unit.ts'
import { CellWindowOperator } from './cell-window.ts'

export interface TopNWindowOptions {
  readonly sizeMs: number
  readonly everyMs: number
  readonly n: number
  readonly compare: Compare
  readonly keyCodec: KeyCodec
}

/** The ranking of a key in a pane; it is replaced, so undo puts the old one back. */
class Cell implements Undoable {
  ranking: readonly Ranked[]
  #savedIn = -1
  #saved: readonly Ranked[]

  constructor(ranking: readonly Ranked[]) {
    this.ranking = ranking
    this.#saved = ranking
  }

  set(ranking: readonly Ranked[], unit: Unit): void {
    if (unit.undo && this.#savedIn !== unit.number) {
      this.#saved = this.ranking
      unit.changing(this)
      this.#savedIn = unit.number
    }
    this.ranking = ranking
  }

  undo(): void {
    this.ranking = this.#saved
  }
}

export class TopNWindowOperator extends CellWindowOperator<Cell> {
  readonly #n: number
  readonly #compare: Compare

  constructor(stage: number, unit: Unit, state: StageState, { sizeMs, everyMs, n, compare, keyCodec }: TopNWindowOptions) {
    super(stage, unit, state, {
      sizeMs,
      everyMs,
      keyCodec,
      encode: ({ ranking }) => encodeRanking(ranking),
      decode: plain => new Cell(decodeRanking(plain)),
    })
    this.#n = n
    this.#compare = compare
  }

  protected process(batch: Batch): void {
    for (let at = 0; at < batch.size; at += 1) {
      try {
        const cell = this.cellFor(batch, at)
        if (cell === undefined) continue
        const ranked = { time: batch.times[at] as number, row: batch.rows[at] }
        const rank = rankOf(cell.ranking, ranked, this.#compare)
        if (rank < this.#n) cell.set(withRanked(cell.ranking, rank, ranked, this.#n), this.unit)
      } catch (thrown) {
        if (thrown instanceof UnitSignal) throw thrown
        this.rowFailed(batch, at, thrown)
      }
    }
    this.handLateAside()
  }

  protected create(): Cell {
    return new Cell([])
  }

  protected give(key: unknown, cells: readonly Cell[], windowStart: number, windowEnd: number, push: (row: unknown) => void): void {
    let ranking = cells[0]?.ranking ?? []
    for (let i = 1; i < cells.length; i += 1) {
      for (const ranked of (cells[i] as Cell).ranking) {
        const rank = rankOf(ranking, ranked, this.#compare)
        // The rest of the pane ranks behind it.
        if (rank >= this.#n) break
        ranking = withRanked(ranking, rank, ranked, this.#n)
      }
    }
    for (let i = 0; i < ranking.length; i += 1) push({ key, windowStart, windowEnd, rank: i + 1, row: (ranking[i] as Ranked).row })
  }

  override get stateBytes(): number {
    return this.cellCount * (300 + this.#n * 50)
  }
}
