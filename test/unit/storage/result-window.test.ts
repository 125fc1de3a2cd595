import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { ResultWindow } from '../../../src/storage/result-window.ts'
import type { RecordedResult } from '../../../src/storage/session-table.ts'

const recorded = (position: number): RecordedResult => ({ position, result: Uint8Array.of(position & 255) })

test('a window of results behaves as a map of them, whatever numbers come', () => {
  const number = fc.oneof(
    fc.integer({ min: 1, max: 40 }),
    fc.integer({ min: 1, max: 2 ** 32 - 1 }),
    fc.integer({ min: 1, max: 8 }).map(n => n * 4096),
  )
  const step = fc.tuple(fc.boolean(), number)
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), steps => {
      const window = new ResultWindow()
      const model = new Map<number, RecordedResult>()
      for (const [i, [isSet, at]] of steps.entries()) {
        if (isSet) {
          window.set(at, recorded(i).result, i)
          model.set(at, recorded(i))
        } else {
          window.delete(at)
          model.delete(at)
        }
        expect(window.get(at)).toEqual(model.get(at))
        expect(window.size).toBe(model.size)
      }
      expect(new Map(window)).toEqual(model)
      expect(new Map(new ResultWindow(window))).toEqual(model)
    }),
  )
})
