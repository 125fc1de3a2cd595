import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { Timers } from '../../../src/streaming/state/timers.ts'

test('the timers of a key are those of a Map, and a copy is its own', () => {
  const names = fc.constantFrom('', 'a', 'b', 'c')
  const step = fc.oneof(
    fc.record({ kind: fc.constant('set' as const), name: names, time: fc.integer({ min: 0, max: 5 }) }),
    fc.record({ kind: fc.constant('delete' as const), name: names, time: fc.constant(0) }),
    fc.record({ kind: fc.constant('copy' as const), name: names, time: fc.constant(9) }),
  )
  fc.assert(
    fc.property(fc.array(step), steps => {
      const model = new Map<string, number>()
      let timers = new Timers()
      for (const { kind, name, time } of steps) {
        if (kind === 'set') {
          model.set(name, time)
          timers.set(name, time)
        } else if (kind === 'delete') {
          expect(timers.delete(name)).toBe(model.delete(name))
        } else {
          const before = timers
          timers = timers.copy()
          before.set(name, time)
        }
        expect(timers.size).toBe(model.size)
        expect(timers.get(name)).toBe(model.get(name))
        expect(timers.has(name)).toBe(model.has(name))
        expect([...timers].sort()).toEqual([...model].sort())
      }
    }),
  )
})
