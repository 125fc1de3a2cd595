import { expect, test } from 'vitest'
import { type Call, impossible, violationsIn } from './histories.ts'

const call = (calledAtMs: number, answeredAtMs: number, text: string): Call => {
  const [kind, value] = text.split(' ')
  const seen = value === 'nothing' ? undefined : value
  const apply: Call['apply'] = kind === 'set' ? () => value : register => (register === seen ? register : impossible)
  return { key: 'k', text, calledAtMs, answeredAtMs, apply }
}

test('what a register could have said is accepted: overlapping calls in any order, an open write at any time or never', () => {
  expect(violationsIn([call(0, 10, 'set a'), call(5, 15, 'set b'), call(20, 21, 'get a'), call(22, 23, 'get a')])).toEqual([])
  const open = Number.POSITIVE_INFINITY
  expect(violationsIn([call(0, 1, 'set a'), call(2, open, 'set b'), call(3, 4, 'get a'), call(5, 6, 'get b')])).toEqual([])
  expect(violationsIn([call(0, 1, 'set a'), call(2, open, 'set b'), call(3, 4, 'get a')])).toEqual([])
})

test('a lost write, a stale read, a value that comes back and one that nobody wrote are found', () => {
  expect(violationsIn([call(0, 1, 'set a'), call(2, 3, 'get nothing')])).toHaveLength(1)
  expect(violationsIn([call(0, 1, 'set a'), call(2, 3, 'set b'), call(4, 5, 'get a')])).toHaveLength(1)
  expect(violationsIn([call(0, 9, 'set a'), call(1, 2, 'get a'), call(3, 4, 'get nothing')])).toHaveLength(1)
  expect(violationsIn([call(0, 1, 'get z')])).toHaveLength(1)
})
