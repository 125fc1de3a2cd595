import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { InFlight } from '../../../src/client/in-flight.ts'
import type { Operation } from '../../../src/client/operation.ts'

const call = (id: number): Operation => ({ partition: id }) as Operation

test('calls are found by their number like in a map, also when some are answered much later than others, and past 2^32', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 0xffffffff }),
      fc.array(fc.tuple(fc.integer({ min: 0, max: 9000 }), fc.double({ min: 0, max: 1, noNaN: true })), { maxLength: 6 }),
      (firstId, steps) => {
        const inFlight = new InFlight()
        const model = new Map<number, Operation>()
        let id = firstId
        for (const [count, share] of steps) {
          for (let i = 0; i < count; i += 1) {
            const operation = call(id)
            inFlight.add(id, operation)
            model.set(id, operation)
            id = (id + 1) >>> 0
          }
          let answered = Math.floor(model.size * share)
          for (const [answeredId, operation] of model) {
            if (answered === 0) break
            answered -= 1
            if ((answeredId & 3) === 0) continue
            expect(inFlight.take(answeredId)).toBe(operation)
            expect(inFlight.take(answeredId)).toBeUndefined()
            model.delete(answeredId)
          }
          expect(inFlight.size).toBe(model.size)
        }
        const even = (operation: Operation): boolean => operation.partition % 2 === 0
        expect(new Set(inFlight.takeIf(even))).toEqual(new Set([...model.values()].filter(even)))
        expect(inFlight.takeIf(() => true)).toEqual([...model.values()].filter(operation => !even(operation)))
        expect(inFlight.size).toBe(0)
      },
    ),
    { numRuns: 20 },
  )
})
