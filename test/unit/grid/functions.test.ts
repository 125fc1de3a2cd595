import { describe, expect, it } from 'vitest'
import { defineFunctions, entryFunction, isFunctionSet } from '../../../src/grid/functions.ts'

describe('defineFunctions', () => {
  it('makes a frozen set that only it can make', () => {
    const add = entryFunction<number>()((entry, n: number) => (entry.get() ?? 0) + n)
    const set = defineFunctions({ add })
    expect(isFunctionSet(set)).toBe(true)
    expect(set.functions.add).toBe(add)
    expect(Object.isFrozen(set.functions)).toBe(true)
    expect(isFunctionSet({ functions: set.functions })).toBe(false)
    expect(isFunctionSet(null)).toBe(false)
  })

  it.each([
    ['an async function', async () => 1, /"bad": it is an AsyncFunction, and functions are synchronous/],
    ['a generator', function* () {}, /"bad": it is a GeneratorFunction/],
    ['null', null, /"bad": its value is null/],
    ['text', 'x', /"bad": its value is string/],
  ])('refuses %s', (_, value, message) => {
    expect(() => defineFunctions({ bad: value as CallableFunction })).toThrow(message)
  })

  it.each(['', 'x'.repeat(129), 'a\nb', '\ud800'])('refuses the name %j', name => {
    expect(() => defineFunctions({ [name]: () => 1 })).toThrow(/a name has 1 to 128 characters/)
  })

  it('refuses a file without functions', () => {
    expect(() => defineFunctions({})).toThrow(/defines none/)
  })

  it('takes names that objects have from their prototype', () => {
    expect(Object.keys(defineFunctions({ constructor: () => 1, toString: () => 2 }).functions)).toEqual(['constructor', 'toString'])
  })
})
