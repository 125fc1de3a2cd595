import { describe, expect, it } from 'vitest'
import { formatByteSize, parseByteSize } from '../../../src/base/byte-size.ts'
import { ManualClock } from '../../../src/base/clock.ts'
import { formatDuration, parseDuration } from '../../../src/base/duration.ts'
import { errorCodes, isErrorCode, NearstateError } from '../../../src/base/errors.ts'
import { Histogram } from '../../../src/base/histogram.ts'
import { randomId, seededRandom } from '../../../src/base/random.ts'

describe('durations', () => {
  it.each([
    ['250ms', 250],
    ['5s', 5000],
    ['1.5h', 5_400_000],
    ['30d', 2_592_000_000],
  ])('reads %s', (text, ms) => expect(parseDuration(text)).toBe(ms))

  it.each(['5 parsecs', '', '5', 's', '-1s', '1e3s', '99999999999999999d'])('refuses "%s" and names it', text => {
    expect(() => parseDuration(text, 'ttl')).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(`ttl "${text}"`) }),
    )
  })

  it('prints them for people', () => {
    expect([850, 12_300, 250_000, 7_260_000, 180_000_000].map(formatDuration)).toEqual(['850ms', '12.3s', '4m 10s', '2h 1m', '2d 2h'])
  })
})

describe('byte sizes', () => {
  it('reads numbers and units', () =>
    expect(['65536', '256kb', '1.5GB', '3 b'].map(t => parseByteSize(t))).toEqual([65536, 262_144, 1_610_612_736, 3]))
  it('refuses anything else', () => expect(() => parseByteSize('12 parsecs', 'memoryMax')).toThrow(/memoryMax "12 parsecs"/))
  it('prints them for people', () => expect([512, 1536, 3 * 1024 ** 3].map(formatByteSize)).toEqual(['512 B', '1.5 KB', '3.0 GB']))
})

describe('errors', () => {
  it('derive retryability from the code', () => {
    expect(new NearstateError('UNAVAILABLE', 'gone').retryable).toBe(true)
    expect(new NearstateError('OUTCOME_UNKNOWN', 'who knows').retryable).toBe(false)
  })
  it('have a status and a sentence for every code', () => {
    for (const [code, row] of Object.entries(errorCodes)) {
      expect(isErrorCode(code)).toBe(true)
      expect(row.grpcStatus).toBeGreaterThan(0)
      expect(row.meaning).toMatch(/\.$/)
    }
    expect(isErrorCode('toString')).toBe(false)
  })
})

describe('histogram', () => {
  it('gives percentiles within 4 % over nine decades', () => {
    for (const scale of [0.01, 1, 1000, 1e6]) {
      const histogram = new Histogram()
      for (let i = 1; i <= 1000; i += 1) histogram.record(i * scale)
      expect(histogram.percentile(0.5) / (500 * scale)).toBeCloseTo(1, 1)
      expect(histogram.percentile(0.99) / (990 * scale)).toBeGreaterThan(0.99)
      expect(histogram.percentile(0.99) / (990 * scale)).toBeLessThan(1.04)
      expect(histogram.percentile(1)).toBe(1000 * scale)
    }
  })
  it('is 0 when empty and takes 0', () => {
    const histogram = new Histogram()
    expect(histogram.percentile(0.5)).toBe(0)
    histogram.record(0)
    expect(histogram.percentile(0.5)).toBe(0)
    histogram.reset()
    expect(histogram.count).toBe(0)
  })
})

describe('injected time and randomness', () => {
  it('repeat for the same seed', () => {
    expect(randomId(seededRandom(7))).toBe(randomId(seededRandom(7)))
    expect(randomId(seededRandom(7))).not.toBe(randomId(seededRandom(8)))
  })
  it('move only when told', () => {
    const clock = new ManualClock(5, 1000)
    clock.advance(10)
    expect([clock.nowMs(), clock.wallTimeMs()]).toEqual([15, 1010])
  })
})
