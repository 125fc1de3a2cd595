/**
 * Calls of real clients on a few keys, with the times of call and answer, and the check that a register could have given these
 * answers in some order that real time allows: Wing and Gong's search with Lowe's memory, key by key.
 * A write of unknown outcome may take effect at any time after its call, or never.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { NearstateError } from '../../src/base/errors.ts'
import type { Grid } from '../../src/client/grid.ts'
import { defineKey } from '../../src/keys/key-space.ts'

const Register = defineKey('register', 'string')

type Value = string | undefined

export interface Call {
  readonly key: string
  readonly text: string
  readonly calledAtMs: number
  /** Infinity: open. */
  answeredAtMs: number
  /** The register after it, or `impossible` when the answer does not fit the register before. */
  readonly apply: (register: Value) => Value | typeof impossible
}
export const impossible = Symbol('impossible')

/** Keys without a linear order, each with its calls; empty: all is well. */
export function violationsIn(calls: readonly Call[]): readonly string[] {
  const byKey = Map.groupBy(calls, call => call.key)
  const violations: string[] = []
  for (const [key, ofKey] of byKey) {
    if (isLinearizable(ofKey)) continue
    const lines = ofKey.map(call => `[${call.calledAtMs.toFixed(1)}, ${call.answeredAtMs.toFixed(1)}] ${call.text}`)
    violations.push(`${key}:\n  ${lines.join('\n  ')}`)
  }
  return violations
}

function isLinearizable(unsorted: readonly Call[]): boolean {
  const calls = [...unsorted].sort((a, b) => a.calledAtMs - b.calledAtMs)
  const tried = new Set<string>()
  /** Calls below `first` are taken; `taken`: those taken above. */
  const search: { first: number; taken: readonly number[]; register: Value }[] = [{ first: 0, taken: [], register: undefined }]
  for (let state = search.pop(); state !== undefined; state = search.pop()) {
    const { first, taken, register } = state
    const left: number[] = []
    let earliestEndMs = Number.POSITIVE_INFINITY
    let isAnswered = false
    for (let i = first; i < calls.length; i += 1) {
      const call = calls[i] as Call
      if (call.calledAtMs > earliestEndMs) break
      if (taken.includes(i)) continue
      left.push(i)
      earliestEndMs = Math.min(earliestEndMs, call.answeredAtMs)
    }
    for (let i = first; i < calls.length && !isAnswered; i += 1)
      isAnswered = !taken.includes(i) && (calls[i] as Call).answeredAtMs !== Number.POSITIVE_INFINITY
    if (!isAnswered) return true
    for (const i of left) {
      const call = calls[i] as Call
      if (call.calledAtMs > earliestEndMs) continue
      const after = call.apply(register)
      if (after === impossible) continue
      const nextTaken = [...taken, i].sort((a, b) => a - b)
      let nextFirst = first
      while (nextTaken[0] === nextFirst) {
        nextTaken.shift()
        nextFirst += 1
      }
      const name = `${nextFirst}|${nextTaken.join(',')}|${after ?? '-'}`
      if (tried.has(name)) continue
      tried.add(name)
      search.push({ first: nextFirst, taken: nextTaken, register: after })
    }
  }
  return false
}

export interface Recorded {
  readonly calls: readonly Call[]
  readonly failures: Readonly<Record<string, number>>
}

/** Clients that read, write, delete and put if absent on the same few keys until told to stop. */
export class HistoryLoad {
  readonly #grids: readonly Grid[]
  readonly #keys: readonly string[]
  readonly #map: string
  readonly #pauseMs: number
  readonly #calls: Call[] = []
  readonly #failures: Record<string, number> = {}
  #stopping = false
  #done: Promise<void> = Promise.resolve()
  #number = 0

  constructor(grids: readonly Grid[], options: { readonly map: string; readonly keys: number; readonly pauseMs: number }) {
    this.#grids = grids
    this.#map = options.map
    this.#keys = Array.from({ length: options.keys }, (_, i) => `key-${i}`)
    this.#pauseMs = options.pauseMs
  }

  start(): void {
    this.#done = Promise.all(this.#grids.flatMap(grid => [this.#run(grid), this.#run(grid)])).then(() => undefined)
  }

  async stop(): Promise<Recorded> {
    this.#stopping = true
    await this.#done
    // What is there in the end is part of the history.
    await Promise.all(this.#keys.map(key => this.#call(this.#grids[0] as Grid, key, 'get')))
    return { calls: this.#calls, failures: this.#failures }
  }

  async #run(grid: Grid): Promise<void> {
    while (!this.#stopping) {
      const key = this.#keys[Math.floor(Math.random() * this.#keys.length)] as string
      const choice = Math.random()
      await this.#call(grid, key, choice < 0.45 ? 'get' : choice < 0.8 ? 'set' : choice < 0.9 ? 'delete' : 'putIfAbsent')
      await sleep(Math.random() * this.#pauseMs)
    }
  }

  async #call(grid: Grid, key: string, kind: 'get' | 'set' | 'delete' | 'putIfAbsent'): Promise<void> {
    const map = grid.map<typeof Register, string>(this.#map, Register)
    const value = `v${(this.#number += 1)}`
    const calledAtMs = performance.now()
    const add = (text: string, isOpen: boolean, apply: Call['apply']): void => {
      this.#calls.push({ key, text, calledAtMs, answeredAtMs: isOpen ? Number.POSITIVE_INFINITY : performance.now(), apply })
    }
    const fit = (isFit: boolean, after: Value): Value | typeof impossible => (isFit ? after : impossible)
    try {
      switch (kind) {
        case 'get': {
          const seen = await map.get(key)
          return add(`get => ${seen ?? 'nothing'}`, false, register => fit(register === seen, register))
        }
        case 'set':
          await map.set(key, value)
          return add(`set ${value}`, false, () => value)
        case 'delete': {
          const was = await map.delete(key)
          return add(`delete => ${was}`, false, register => fit((register !== undefined) === was, undefined))
        }
        case 'putIfAbsent': {
          const there = await map.putIfAbsent(key, value)
          return add(`putIfAbsent ${value} => ${there ?? 'stored'}`, false, register => fit(register === there, register ?? value))
        }
      }
    } catch (thrown) {
      const code = thrown instanceof NearstateError ? thrown.code : `other: ${String(thrown)}`
      this.#failures[code] = (this.#failures[code] ?? 0) + 1
      if (code !== 'OUTCOME_UNKNOWN') return
      if (kind === 'set') add(`set ${value}, outcome unknown`, true, () => value)
      if (kind === 'delete') add('delete, outcome unknown', true, () => undefined)
      if (kind === 'putIfAbsent') add(`putIfAbsent ${value}, outcome unknown`, true, register => register ?? value)
    }
  }
}
