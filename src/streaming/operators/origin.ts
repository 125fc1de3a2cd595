/**
 * Where an event was read: split and line in one number, so that a row can be named in dead letters wherever it fails.
 * -1: no event (a timer, a window). Every shard numbers the splits of an assignment in the same order.
 */
import type { Assignment } from '../assignment.ts'
import type { StageDescription } from '../graph/job-graph.ts'

const lineSpan = 2 ** 33
/** Lines beyond it are not told apart. */
export const lineMax = lineSpan - 1
export const noOrigin = -1
/** Highest number of splits; lines and splits together stay within safe integers. */
export const splitsMax = 2 ** 19

export const originOf = (split: number, line: number): number => split * lineSpan + Math.min(line, lineMax)

export interface Place {
  readonly origin: string
  readonly line: number
  /** Both, for people. */
  readonly text: string
}

export class Origins {
  readonly #names: string[] = []
  readonly #isGenerated: boolean[] = []
  readonly #firsts = new Map<string, number>()

  constructor(assignment: Assignment, stages: readonly StageDescription[]) {
    for (const stage of Object.keys(assignment.splits).sort()) {
      const isGenerated = stages.find(({ name }) => name === stage)?.source?.connector === 'generator'
      for (const [shard, splits] of (assignment.splits[stage] ?? []).entries()) {
        this.#firsts.set(`${stage}\n${shard}`, this.#names.length)
        for (const split of splits) {
          this.#names.push(split.id)
          this.#isGenerated.push(isGenerated)
        }
      }
    }
  }

  get splitCount(): number {
    return this.#names.length
  }

  /** Number of the first split that this shard reads for this stage; its others follow. */
  firstOf(stage: string, shard: number): number {
    return this.#firsts.get(`${stage}\n${shard}`) ?? 0
  }

  /** What `describe` has told, as numbers of this attempt; a split that there is not any more is -1. */
  placeOf(origin: string, line: number): { readonly split: number; readonly line: number } {
    return { split: this.#names.indexOf(origin), line }
  }

  originOf(split: number, line: number): number {
    return split < 0 ? noOrigin : originOf(split, line)
  }

  describe(origin: number): Place | undefined {
    if (origin < 0) return undefined
    const split = Math.floor(origin / lineSpan)
    const name = this.#names[split] ?? ''
    const line = origin - split * lineSpan
    // A generator's events count from 0, its lines from 1.
    const text = this.#isGenerated[split] === true ? `generator split ${name}, event n = ${line - 1}` : `${name}, line ${line}`
    return { origin: name, line, text }
  }
}
