import { expect, it } from 'vitest'
import type { NodeId } from '../../../src/base/ids.ts'
import { PromiseSlots } from '../../../src/node/promise-slots.ts'
import { createPromiseCell, PromiseCellReader } from '../../../src/shard/promise-cell.ts'

const id = (name: string): NodeId => name as NodeId

it('a promise stands where the slots say, until the node is gone', () => {
  const cell = createPromiseCell()
  const slots = new PromiseSlots(cell)
  const reader = new PromiseCellReader(cell)
  slots.handleNodes([id('a'), id('b')])
  const slotOf = new Map(slots.entries())
  slots.publish(id('b'), { version: 3, untilMs: 9 })
  expect(reader.read(slotOf.get(id('b')) ?? -1)).toEqual({ version: 3, untilMs: 9 })
  expect(reader.read(slotOf.get(id('a')) ?? -1)).toBeUndefined()
  slots.handleNodes([id('a')])
  expect(reader.read(slotOf.get(id('b')) ?? -1)).toBeUndefined()
  slots.publish(id('b'), { version: 4, untilMs: 9 })
  expect(reader.read(slotOf.get(id('b')) ?? -1)).toBeUndefined()
})

it('a slot that was freed is not the next to be used', () => {
  const slots = new PromiseSlots(createPromiseCell())
  slots.handleNodes([id('a')])
  const [, first] = slots.entries()[0] ?? []
  slots.handleNodes([id('b')])
  expect(slots.entries()[0]?.[1]).not.toBe(first)
})

it('no promise is left after all are dropped', () => {
  const cell = createPromiseCell()
  const slots = new PromiseSlots(cell)
  slots.handleNodes([id('a')])
  slots.publish(id('a'), { version: 1, untilMs: 1 })
  slots.clear()
  expect(new PromiseCellReader(cell).read(slots.entries()[0]?.[1] ?? -1)).toBeUndefined()
})
