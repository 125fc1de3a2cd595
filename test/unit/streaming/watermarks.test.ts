import { describe, expect, it } from 'vitest'
import { endOfInput, noWatermark, SplitClock, WatermarkMerge } from '../../../src/streaming/time/watermarks.ts'

describe('the watermark of several inputs', () => {
  type Step = readonly [input: number, watermark: number, idle: boolean]
  const table: readonly (readonly [string, number, readonly Step[], number, boolean])[] = [
    ['is unknown while one input has none', 2, [[0, 50, false]], noWatermark, false],
    [
      'is the least of them',
      2,
      [
        [0, 50, false],
        [1, 20, false],
      ],
      20,
      false,
    ],
    [
      'does not go down when an input does',
      2,
      [
        [0, 50, false],
        [1, 20, false],
        [1, 10, false],
      ],
      20,
      false,
    ],
    [
      'leaves idle inputs out',
      2,
      [
        [0, 50, false],
        [1, 20, true],
      ],
      50,
      false,
    ],
    [
      'does not go down when an idle input comes back',
      2,
      [
        [0, 50, false],
        [1, 20, true],
        [1, 30, false],
      ],
      50,
      false,
    ],
    [
      'is held back again by an input that came back',
      2,
      [
        [0, 50, false],
        [1, 20, true],
        [1, 30, false],
        [0, 90, false],
      ],
      50,
      false,
    ],
    [
      'stays where it is, and idle, when all are idle',
      2,
      [
        [0, 50, false],
        [1, 20, false],
        [0, 50, true],
        [1, 20, true],
      ],
      20,
      true,
    ],
    [
      'is not ended while an idle input has not',
      2,
      [
        [0, endOfInput, false],
        [1, 20, true],
      ],
      noWatermark,
      true,
    ],
    [
      'does not count ended inputs',
      2,
      [
        [0, endOfInput, false],
        [1, 20, false],
      ],
      20,
      false,
    ],
    [
      'is infinite when all have ended',
      2,
      [
        [0, endOfInput, false],
        [1, endOfInput, false],
      ],
      endOfInput,
      false,
    ],
    [
      'ends with an input that was idle when it ended',
      1,
      [
        [0, 5, true],
        [0, endOfInput, false],
      ],
      endOfInput,
      false,
    ],
  ]
  for (const [name, inputs, steps, watermark, idle] of table) {
    it(name, () => {
      const merge = new WatermarkMerge(inputs)
      for (const [input, mark, isIdle] of steps) merge.set(input, mark, isIdle)
      expect({ watermark: merge.watermark, idle: merge.idle }).toEqual({ watermark, idle })
    })
  }

  it('is infinite from the start when there are none', () => {
    expect(new WatermarkMerge(0).watermark).toBe(endOfInput)
  })
})

describe('the watermark of a split', () => {
  it('is its greatest event time less the disorder allowed, less one millisecond', () => {
    const clock = new SplitClock(500, undefined)
    expect(clock.watermark).toBe(noWatermark)
    clock.saw(10_000, 0)
    clock.saw(9_000, 1)
    expect(clock.watermark).toBe(9_499)
    clock.ended()
    expect(clock.watermark).toBe(endOfInput)
  })

  it('becomes idle after idleAfter without events, counted from when it was opened, and comes back with an event', () => {
    const clock = new SplitClock(0, 100)
    clock.opened(1000)
    expect(clock.idleAtMs).toBe(1100)
    expect(clock.checkIdle(1099)).toBe(false)
    expect(clock.checkIdle(1100)).toBe(true)
    expect(clock.idle).toBe(true)
    clock.saw(5, 1200)
    expect(clock.idle).toBe(false)
    expect(clock.idleAtMs).toBe(1300)
  })

  it('never becomes idle without idleAfter, nor when it has ended', () => {
    const without = new SplitClock(0, undefined)
    without.opened(0)
    expect(without.checkIdle(1e12)).toBe(false)
    const ended = new SplitClock(0, 1)
    ended.ended()
    expect(ended.checkIdle(1e12)).toBe(false)
  })
})
