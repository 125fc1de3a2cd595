import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { MemoryBudget } from '../../src/storage/memory-budget.ts'
import { OrderedRecords } from '../../src/storage/ordered-records.ts'

const key = fc.oneof(
  fc.integer({ min: 0, max: 999 }).map(n => Buffer.from(String(n).padStart(3, '0'))),
  fc.uint8Array({ maxLength: 4 }).map(bytes => Buffer.from(bytes)),
)
const operation = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('put' as const), key, size: fc.oneof(fc.nat(40), fc.nat(30_000)), run: fc.nat(300) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('remove' as const), key, size: fc.constant(0), run: fc.nat(400) }) },
)

test('ordered records behave like a sorted map, and an empty one holds nothing', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 80, size: 'max' }), key, (operations, from) => {
      const budget = new MemoryBudget(1 << 30)
      const records = new OrderedRecords(budget)
      const model = new Map<string, string>()
      for (const { kind, key, size, run } of operations) {
        // A run of neighbours, as timers and windows make them.
        const keys = key.length === 3 ? Array.from({ length: run }, (_, i) => Buffer.from(String(Number(key.toString()) + i))) : [key]
        for (const each of keys) {
          const name = each.toString('latin1')
          if (kind === 'put') {
            records.put(5, each, Buffer.alloc(keys.length > 1 ? size % 40 : size, name.length))
            model.set(name, String(keys.length > 1 ? size % 40 : size))
          } else {
            expect(records.remove(5, each)).toBe(model.delete(name))
          }
        }
      }
      const names = [...model.keys()].sort()
      const seen: string[] = []
      records.scanFrom(5, new Uint8Array(0), (key, value) => {
        seen.push(Buffer.from(key).toString('latin1'))
        expect(String(value.length)).toBe(model.get(seen.at(-1) ?? ''))
        return true
      })
      expect(seen).toEqual(names)
      expect(records.records).toBe(names.length)
      const first: string[] = []
      records.scanFrom(5, from, key => first.push(Buffer.from(key).toString('latin1')) < 3)
      expect(first).toEqual(names.filter(name => name >= from.toString('latin1')).slice(0, 3))
      expect(records.find(5, from)?.length.toString()).toBe(model.get(from.toString('latin1')))
      expect(records.find(6, from)).toBe(undefined)
      for (const name of names) expect(records.remove(5, Buffer.from(name, 'latin1'))).toBe(true)
      expect(budget.usedBytes).toBe(0)
    }),
    { numRuns: 60 },
  )
})
