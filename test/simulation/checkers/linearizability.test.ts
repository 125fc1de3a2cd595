import { describe, expect, it } from 'vitest'
import type { KeyAnswer, KeyCall, KeyOperation } from '../history.ts'
import { checkLinearizability } from './linearizability.ts'

const call = (operation: KeyOperation, calledAtMs: number, answeredAtMs: number, answer?: KeyAnswer): KeyCall => ({
  client: 'c',
  key: 'k',
  partition: 0,
  operation,
  calledAtMs,
  answeredAtMs: answer === undefined ? undefined : answeredAtMs,
  answer,
  isVoid: false,
})
const value = (text: string | undefined): KeyAnswer => ({ kind: 'value', value: text })
const swap = (text: string, isTimed = false): KeyOperation => ({ kind: 'swap', value: text, isTimed })
const get: KeyOperation = { kind: 'get' }
const violations = (...calls: KeyCall[]): number => checkLinearizability(calls).violations.length

describe('the linearizability checker', () => {
  it('accepts calls in order, and overlapping calls in either order', () => {
    expect(violations(call(swap('a'), 0, 1, value(undefined)), call(get, 2, 3, value('a')))).toBe(0)
    expect(
      violations(
        call(swap('a'), 0, 10, value(undefined)),
        call(get, 1, 2, value(undefined)),
        call(get, 3, 4, value('a')),
        call(get, 5, 6, value('a')),
      ),
    ).toBe(0)
  })

  it('refuses a stale read, a lost write and a read that goes back', () => {
    expect(violations(call(swap('a'), 0, 1, value(undefined)), call(get, 2, 3, value(undefined)))).toBe(1)
    expect(
      violations(
        call(swap('a'), 0, 1, value(undefined)),
        call(swap('b'), 2, 9, value('a')),
        call(get, 3, 4, value('b')),
        call(get, 5, 6, value('a')),
      ),
    ).toBe(1)
  })

  it('lets a write without outcome happen late or never, but once', () => {
    const open = call(swap('b'), 0, 0)
    expect(violations(call(swap('a'), 0, 1, value(undefined)), open, call(get, 5, 6, value('b')))).toBe(0)
    expect(violations(call(swap('a'), 0, 1, value(undefined)), open, call(get, 5, 6, value('a')))).toBe(0)
    expect(
      violations(
        call(swap('a'), 0, 1, value(undefined)),
        open,
        call(swap('c'), 5, 6, value('b')),
        call(swap('d'), 7, 8, value('c')),
        call(get, 9, 10, value('b')),
      ),
    ).toBe(1)
  })

  it('lets a timed value go, and refuses that it comes back', () => {
    expect(violations(call(swap('a', true), 0, 1, value(undefined)), call(get, 5, 6, value(undefined)))).toBe(0)
    expect(violations(call(swap('a', true), 0, 1, value(undefined)), call(get, 5, 6, value(undefined)), call(get, 7, 8, value('a')))).toBe(
      1,
    )
  })

  it('refuses a compare that was told to be done on another value', () => {
    const compare: KeyOperation = { kind: 'compare', expected: 'a', value: 'b' }
    const done: KeyAnswer = { kind: 'compared', isDone: true, was: 'a' }
    expect(violations(call(swap('a'), 0, 1, value(undefined)), call(compare, 2, 3, done), call(get, 4, 5, value('b')))).toBe(0)
    expect(violations(call(swap('x'), 0, 1, value(undefined)), call(compare, 2, 3, done))).toBe(1)
  })
})
