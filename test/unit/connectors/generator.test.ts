import { describe, expect, it } from 'vitest'
import { connectorOf } from '../../../src/connectors/registry.ts'
import type { SourceOptions } from '../../../src/streaming/source.ts'

const generator = connectorOf('generator')

async function numbersOf(options: SourceOptions, takes: number): Promise<unknown[][]> {
  const splits = await generator.listSplits(options)
  return splits.map(split => {
    const reader = generator.open(options, split, { onReady: () => undefined })
    const numbers: unknown[] = []
    for (let i = 0; i < takes; i += 1) {
      const taken = reader.take()
      if (taken !== undefined && taken !== 'end') numbers.push(...taken.records)
    }
    reader.close()
    return numbers
  })
}

describe('the generator', () => {
  it('deals the numbers below count over the splits', async () =>
    expect(await numbersOf({ count: 7, splits: 3 }, 5)).toEqual([
      [0, 3, 6],
      [1, 4],
      [2, 5],
    ]))

  it('has nothing to give for a count of 0', async () => expect(await numbersOf({ count: 0, splits: 1 }, 3)).toEqual([[]]))

  it('goes by the clock from its start on, and is one second behind where it goes on', () => {
    const options = { splits: 1, ratePerSecond: 500 }
    const split = { id: '1 of 1', descriptor: { index: 0 } }
    const takenFrom = (position?: number) => {
      const reader = generator.open(options, split, { onReady: () => undefined }, position)
      const taken = reader.take()
      reader.close()
      return taken === 'end' ? taken : taken?.records.slice(0, 2)
    }
    expect(takenFrom()).toBe(undefined)
    expect(takenFrom(7)).toEqual([7, 8])
  })

  it('does not end without a count', async () => expect((await numbersOf({ splits: 1 }, 100)).flat()).toHaveLength(102_400))

  it.each([
    [{ splits: 1, count: -1 }, 'count is -1'],
    [{ splits: 1, count: 1.5 }, 'count is 1.5'],
    [{ splits: 1, ratePerSecond: 0 }, 'ratePerSecond is 0'],
    [{ splits: 0 }, 'splits is 0'],
    [{ splits: 65 }, 'from 1 to 64'],
    [{}, 'splits is undefined'],
    [{ rate: 5 }, 'unknown option "rate"'],
  ])('refuses %j', async (options, message) => {
    await expect(generator.listSplits(options)).rejects.toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(message) }),
    )
  })

  it('is one of the kinds that an unknown kind is told of', () =>
    expect(() => connectorOf('carrier-pigeon')).toThrow('no source of kind "carrier-pigeon"; there are files, generator'))
})
