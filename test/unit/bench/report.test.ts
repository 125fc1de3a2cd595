import { describe, expect, it } from 'vitest'
import { figure, formatReport, ratioOf, spreadOf } from '../../../bench/report.ts'
import { interleave } from '../../../bench/rounds.ts'

describe('a benchmark report', () => {
  it('takes the median with minimum and maximum', () => {
    expect(spreadOf([5, 1, 9])).toEqual({ median: 5, min: 1, max: 9 })
    expect(spreadOf([4, 1, 9, 2])).toEqual({ median: 3, min: 1, max: 9 })
  })

  it('takes a ratio round by round', () => expect(ratioOf([10, 30, 20], [10, 10, 10])).toEqual({ median: 2, min: 1, max: 3 }))

  it('says whether a bar is reached', () => {
    expect(figure('speed', 2.9, 'x', { atLeast: 3 }).reached).toBe(false)
    expect(figure('speed', { median: 3, min: 2, max: 4 }, 'x', { atLeast: 3 })).toEqual({
      name: 'speed',
      value: 3,
      min: 2,
      max: 4,
      unit: 'x',
      atLeast: 3,
      reached: true,
    })
    expect(figure('pause', 12, 'ms', { atMost: 10 }).reached).toBe(false)
    expect(figure('rate', 1, '/s').reached).toBe(true)
    expect(figure('broken', Number.NaN, 'x', { atLeast: 0 }).reached).toBe(false)
  })

  it('prints both tables', () => {
    const text = formatReport({
      rows: [{ name: 'get', side: 'nearstate', value: 123_456, unit: '/s', p50Ms: 0.5 }],
      figures: [figure('gets', { median: 3.2, min: 3, max: 3.5 }, 'x', { atLeast: 3 })],
    })
    expect(text).toContain('123,456')
    expect(text).toContain('0.500')
    expect(text).toContain('at least 3.00')
    expect(text).toContain('reached')
    expect(text).not.toContain('p99')
  })
})

describe('rounds', () => {
  it('warms up, then alternates the order of the sides', async () => {
    const calls: string[] = []
    const side = (name: string) => (ms: number) => Promise.resolve(calls.push(`${name}${ms}`))
    const results = await interleave([side('a'), side('b')], { warmupMs: 1, roundMs: 2, rounds: 3 })
    expect(calls).toEqual(['a1', 'b1', 'a2', 'b2', 'b2', 'a2', 'a2', 'b2'])
    expect(results.map(of => of.length)).toEqual([3, 3])
  })
})
