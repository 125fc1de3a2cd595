/**
 * Rows that failed and did not fail the job, for its log: the first of each kind with its stack, then how many more of the kind came.
 *
 * A kind is a stage, the name of the error and its message without numbers and quoted texts. A unit that is rolled back counts nothing.
 */
import type { FailedRowsPort } from '../operators/unit.ts'

export interface FailedRowsLine {
  readonly stage: string
  readonly name: string
  readonly message: string
  /** The engine's, unmapped; only of the first of a kind, empty where there is none. */
  readonly stack: string
  /** So many since the last line of the kind. */
  readonly rows: number
  readonly isFirst: boolean
}

interface Kind extends Pick<FailedRowsLine, 'stage' | 'name' | 'message' | 'stack'> {
  /** In the unit that runs. */
  inUnit: number
  /** Committed and not told. */
  waiting: number
  /** Undefined: never. */
  toldAtMs: number | undefined
}

/** Told apart in one attempt on one shard; further ones count as one kind per stage. */
const kindsMax = 50
const linesPerSecondMax = 10
const lookEveryMs = 1000
const repeatEveryMs = 10_000
const nameMaxLength = 100
const messageMaxLength = 500
const stackMaxLength = 4000
const otherMessage = 'errors of more kinds than are told apart'

export class FailedRows implements FailedRowsPort {
  readonly #stageNames: readonly string[]
  readonly #write: (line: FailedRowsLine) => void
  readonly #kinds = new Map<string, Kind>()
  #inUnit: Kind[] = []
  #nextLookMs = Number.NEGATIVE_INFINITY

  constructor(stageNames: readonly string[], write: (line: FailedRowsLine) => void) {
    this.#stageNames = stageNames
    this.#write = write
  }

  add(stage: number, thrown: unknown): void {
    const kind = this.#kindOf(stage, thrown)
    if (kind.inUnit === 0) this.#inUnit.push(kind)
    kind.inUnit += 1
  }

  commit(wallTimeMs: number): void {
    if (this.#inUnit.length === 0) return
    for (const kind of this.#inUnit) {
      kind.waiting += kind.inUnit
      kind.inUnit = 0
    }
    this.#inUnit = []
    this.tell(wallTimeMs, false)
  }

  rollback(): void {
    for (const kind of this.#inUnit) kind.inUnit = 0
    this.#inUnit = []
  }

  /** Writes what is due; `all`: whatever has not been told. */
  tell(wallTimeMs: number, all: boolean): void {
    // Also a clock that was set back.
    if (!all && wallTimeMs < this.#nextLookMs && wallTimeMs >= this.#nextLookMs - lookEveryMs) return
    this.#nextLookMs = wallTimeMs + lookEveryMs
    let lines = 0
    for (const kind of this.#kinds.values()) {
      if (kind.waiting === 0 || !(all || isDue(kind, wallTimeMs))) continue
      if (lines === linesPerSecondMax && !all) return
      lines += 1
      const { stage, name, message, stack, waiting: rows, toldAtMs } = kind
      const isFirst = toldAtMs === undefined
      kind.waiting = 0
      kind.toldAtMs = wallTimeMs
      this.#write({ stage, name, message, stack: isFirst ? stack : '', rows, isFirst })
    }
  }

  #kindOf(stage: number, thrown: unknown): Kind {
    const error = readError(thrown)
    const key = `${stage} ${error.name} ${error.message.replace(/\d+|"[^"]*"|'[^']*'/g, '#')}`
    const known = this.#kinds.get(key)
    if (known !== undefined) return known
    if (this.#kinds.size < kindsMax) return this.#newKind(key, stage, { ...error, stack: stackOf(thrown) })
    const others = `${stage}`
    return this.#kinds.get(others) ?? this.#newKind(others, stage, { name: '', message: otherMessage, stack: '' })
  }

  #newKind(key: string, stage: number, error: Pick<Kind, 'name' | 'message' | 'stack'>): Kind {
    const kind = { stage: this.#stageNames[stage] ?? '', ...error, inUnit: 0, waiting: 0, toldAtMs: undefined }
    this.#kinds.set(key, kind)
    return kind
  }
}

const isDue = ({ toldAtMs }: Kind, nowMs: number): boolean => toldAtMs === undefined || Math.abs(nowMs - toldAtMs) >= repeatEveryMs

function readError(thrown: unknown): Pick<Kind, 'name' | 'message'> {
  try {
    if (!(thrown instanceof Error)) return { name: '', message: textOf(`threw ${String(thrown)}`, messageMaxLength) }
    return { name: textOf(thrown.name, nameMaxLength), message: textOf(thrown.message, messageMaxLength) }
  } catch {
    // A getter or trap of what was thrown threw.
    return { name: '', message: 'threw something that cannot be shown' }
  }
}

function stackOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? textOf(thrown.stack ?? '', stackMaxLength) : ''
  } catch {
    // As above.
    return ''
  }
}

/** Fields of errors can be anything. */
const textOf = (field: unknown, maxLength: number): string => String(field).slice(0, maxLength)
