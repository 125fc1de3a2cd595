import { expect, it } from 'vitest'
import { FailedRows, type FailedRowsLine } from '../../../src/streaming/execution/failed-rows.ts'

function setUp() {
  const lines: FailedRowsLine[] = []
  const failed = new FailedRows(['a', 'b'], line => lines.push(line))
  const take = (): readonly string[] =>
    lines.splice(0).map(({ stage, message, rows, isFirst }) => `${stage} ${rows} ${isFirst ? 'first' : 'more'}: ${message}`)
  return { failed, lines, take }
}

it('tells of the first of a kind with its stack, and how many more came', () => {
  const { failed, lines, take } = setUp()
  failed.add(0, new RangeError('row 1 has "x"'))
  failed.commit(0)
  expect(lines[0]).toMatchObject({ name: 'RangeError', stack: expect.stringContaining('failed-rows.test.ts') as string })
  expect(take()).toEqual(['a 1 first: row 1 has "x"'])
  for (let n = 2; n < 1000; n += 1) failed.add(0, new RangeError(`row ${n} has "y"`))
  failed.commit(500)
  failed.tell(9000, false)
  expect(take()).toEqual([])
  failed.tell(10_000, false)
  expect(lines[0]?.stack).toBe('')
  expect(take()).toEqual(['a 998 more: row 1 has "x"'])
  failed.add(0, new RangeError('row 1 has "x"'))
  failed.commit(10_100)
  failed.tell(10_200, true)
  expect(take()).toEqual(['a 1 more: row 1 has "x"'])
  failed.tell(60_000, true)
  expect(take()).toEqual([])
})

it('tells stages and errors apart', () => {
  const { failed, take } = setUp()
  failed.add(0, new Error('no'))
  failed.add(1, new Error('no'))
  failed.add(1, new TypeError('no'))
  failed.add(1, 'no')
  failed.commit(0)
  expect(take()).toEqual(['a 1 first: no', 'b 1 first: no', 'b 1 first: no', 'b 1 first: threw no'])
})

it('counts nothing of a unit that is rolled back', () => {
  const { failed, take } = setUp()
  failed.add(0, new Error('no'))
  failed.rollback()
  failed.commit(0)
  failed.tell(0, true)
  expect(take()).toEqual([])
  failed.add(0, new Error('no'))
  failed.commit(1000)
  expect(take()).toEqual(['a 1 first: no'])
})

it('writes ten lines a second at the most and keeps fifty kinds apart, whatever comes; all are counted', () => {
  const { failed, lines } = setUp()
  const name = (n: number): string => n.toString(26).replace(/\d/g, digit => 'qrstuvwxyz'[Number(digit)] ?? '')
  for (let ms = 0; ms < 3000; ms += 1) {
    failed.add(0, new Error(`odd ${name(ms)}`))
    failed.commit(ms)
  }
  expect(lines.length).toBeLessThanOrEqual(30)
  failed.tell(3000, true)
  expect(new Set(lines.map(({ message }) => message)).size).toBe(51)
  expect(lines.reduce((sum, { rows }) => sum + rows, 0)).toBe(3000)
})

it('takes anything that code can throw', () => {
  const { failed, take } = setUp()
  const trap = new Proxy(new Error('no'), {
    get: () => {
      throw new Error('a trap')
    },
  })
  failed.add(0, null)
  failed.add(0, trap)
  failed.commit(0)
  expect(take()).toEqual(['a 1 first: threw null', 'a 1 first: threw something that cannot be shown'])
})
