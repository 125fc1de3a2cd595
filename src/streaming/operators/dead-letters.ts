/**
 * The job's dead letters: rows that could not be processed, in a map of their own that is routed and written like any sink.
 *
 * Key: `<origin>:<line>:<stage>`, so a run of the same input writes the same entries; rows that come from no event (windows,
 * timers) are named by their content. Value: { stage, origin, line, reason, row | raw, at, replay? }: the row as the failing stage got it,
 * or, when it was cut off, as it was where its chain of stages began (a source's record, a row behind keyBy). `replay` has what else the
 * stage needs to take it again: { time, key?, partition, packed? }, the row itself only where JSON does not say all of it.
 */
import { NearstateError } from '../../base/errors.ts'
import type { Edge } from '../exchange/edge.ts'
import type { RowCodec } from '../exchange/frame.ts'
import type { Router } from '../exchange/router.ts'
import type { LocalMap } from '../ports.ts'
import { noOrigin, type Origins } from './origin.ts'
import { SinkOperator } from './sink.ts'
import type { DeadLetterPort, Unit, WayIn } from './unit.ts'

/** The text of a record that was never a row. */
export class RawText {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

const rowTextMax = 64 * 1024
const rawTextMax = 1024
const reasonMax = 1024

export class DeadLettersOperator extends SinkOperator implements DeadLetterPort {
  readonly edge: Edge
  readonly #router: Router
  readonly #origins: Origins
  readonly #stageNames: readonly string[]

  constructor(
    stage: number,
    unit: Unit,
    map: LocalMap,
    codec: RowCodec,
    router: Router,
    edge: Edge,
    origins: Origins,
    stageNames: readonly string[],
  ) {
    super(stage, unit, map, codec, undefined, undefined)
    this.edge = edge
    this.#router = router
    this.#origins = origins
    this.#stageNames = stageNames
  }

  add(stage: number, origin: number, thrown: unknown, row: unknown, way?: WayIn): void {
    const name = this.#stageNames[stage] ?? ''
    const place = this.#origins.describe(origin)
    const shown = shownRow(row)
    const named = place === undefined ? `${name}:${shown.text.slice(0, rawTextMax)}` : `${place.origin}:${place.line}:${name}`
    const { replaying } = this.unit
    const key = replaying?.stage === stage ? replaying.key : named.toWellFormed()
    const partition = this.#router.partitionOf(key)
    const letter = {
      stage: name,
      origin: place?.origin ?? '',
      line: place?.line ?? 0,
      reason: reasonOf(thrown),
      ...shown.fields,
      at: this.unit.wallTimeMs,
      ...(way === undefined ? {} : this.#replayOf(row, shown, way, partition)),
    }
    const owner = this.#router.owners[partition] as number
    if (owner !== this.#router.self) {
      this.edge.waitingFor(owner).push(letter, 0, noOrigin, key, partition)
      return
    }
    const { rowsIn, rowsOut } = this.unit.counters
    rowsIn[this.stage] = (rowsIn[this.stage] as number) + 1
    rowsOut[this.stage] = (rowsOut[this.stage] as number) + 1
    this.laidDown.push(this.codec.encode(letter), 0, noOrigin, key, partition)
  }

  #replayOf(row: unknown, shown: ShownRow, { time, key, partition }: WayIn, ownPartition: number): { readonly replay?: object } {
    const way = partition < 0 ? { time, partition: ownPartition } : { time, key, partition }
    try {
      const packed = this.codec.encode(row)
      const said = 'row' in shown.fields ? this.codec.encode(shown.fields.row) : undefined
      if (said !== undefined && isSame(packed, said)) return { replay: way }
      return packed.length > rowTextMax ? {} : { replay: { ...way, packed } }
    } catch {
      // It holds what cannot be encoded: a function, a getter that throws.
      return {}
    }
  }

  /** A letter that its own map refuses is counted and dropped: it has nowhere else to go. */
  protected override refused(at: number, thrown: unknown): void {
    if (thrown instanceof NearstateError && thrown.code === 'INVALID_ARGUMENT') {
      const { deadLetters } = this.unit.counters
      deadLetters[this.stage] = (deadLetters[this.stage] as number) + 1
      return
    }
    super.refused(at, thrown)
  }
}

interface ShownRow {
  readonly text: string
  readonly fields: { readonly row: unknown } | { readonly raw: string }
}

/** The row as plain JSON-like data, so that it can be stored whatever it is. */
function shownRow(row: unknown): ShownRow {
  if (row instanceof RawText) return { text: row.text, fields: { raw: row.text.slice(0, rawTextMax) } }
  try {
    const text = JSON.stringify(row) ?? 'undefined'
    if (text.length <= rowTextMax && text !== 'undefined') return { text, fields: { row: JSON.parse(text) as unknown } }
    return { text, fields: { raw: text.slice(0, rawTextMax) } }
  } catch {
    // Not JSON-like: a cycle, a bigint, a getter that throws.
    return { text: '', fields: { raw: '(cannot be shown)' } }
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at])
}

function reasonOf(thrown: unknown): string {
  try {
    return (thrown instanceof Error ? thrown.message : String(thrown)).slice(0, reasonMax)
  } catch {
    // What was thrown cannot be turned into text.
    return '(cannot be shown)'
  }
}
