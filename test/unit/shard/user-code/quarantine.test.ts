import { expect, it } from 'vitest'
import { Quarantine } from '../../../../src/shard/user-code/quarantine.ts'

it('holds a label from its third stop until it is cleared', () => {
  const quarantine = new Quarantine(3)
  expect(quarantine.recordStop('a')).toBe(1)
  quarantine.recordStop('a')
  quarantine.recordStop('b')
  expect(quarantine.holds('a')).toBe(false)
  quarantine.recordStop('a')
  expect(quarantine.holds('a')).toBe(true)
  expect(quarantine.holds('b')).toBe(false)
  expect(quarantine.labels).toEqual(['a'])
  quarantine.clear('a')
  expect(quarantine.holds('a')).toBe(false)
  expect(quarantine.labels).toEqual([])
})

it('keeps a bounded number of labels and forgets the oldest', () => {
  const quarantine = new Quarantine(1, 2)
  for (const label of ['a', 'b', 'c']) quarantine.recordStop(label)
  expect(quarantine.labels).toEqual(['b', 'c'])
})
