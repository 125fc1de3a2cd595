import { expect, it } from 'vitest'
import {
  callCellOver,
  createCallCell,
  currentCall,
  enterCall,
  leaveCall,
  markForStop,
  nextCallNumber,
} from '../../../../src/shard/user-code/call-cell.ts'

it('a call that leaves first is not stopped', () => {
  const cell = callCellOver(createCallCell())
  enterCall(cell, 5)
  expect(leaveCall(cell, 5)).toBe(true)
  expect(markForStop(cell, 5)).toBe(false)
  expect(currentCall(cell)).toBe(0)
})

it('a call that is marked first may not leave', () => {
  const cell = callCellOver(createCallCell())
  enterCall(cell, 5)
  expect(markForStop(cell, 5)).toBe(true)
  expect(markForStop(cell, 5)).toBe(false)
  expect(leaveCall(cell, 5)).toBe(false)
  expect(currentCall(cell)).toBe(-5)
})

it('a mark meant for an earlier call does not hit the next', () => {
  const cell = callCellOver(createCallCell())
  enterCall(cell, 5)
  leaveCall(cell, 5)
  enterCall(cell, 6)
  expect(markForStop(cell, 5)).toBe(false)
  expect(leaveCall(cell, 6)).toBe(true)
})

it('numbers stay positive when they wrap', () => {
  expect(nextCallNumber(0x7fffffff)).toBe(1)
  expect(nextCallNumber(0)).toBe(1)
})
