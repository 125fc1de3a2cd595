import { describe, expect, it } from 'vitest'
import { hostileRun } from './options.ts'
import { runSimulation } from './simulation.ts'
import { brokenVariants, extrasOf } from './variants.ts'

/** Far more than any variant needs today: what a change of the code makes of luck stays within it. */
const seedsMax = 400

describe('the protocol with a rule taken away', () => {
  it.each(brokenVariants.map(variant => [variant.name, variant] as const))(
    'is caught: %s',
    (_, variant) => {
      for (let seed = variant.fromSeed; seed < variant.fromSeed + seedsMax; seed += 1) {
        if (isCaught(() => runSimulation(seed, variant.options, extrasOf(variant, seed)).violations.length > 0)) return
      }
      expect.fail(`${variant.name} went through ${seedsMax} seeds from ${variant.fromSeed}`)
    },
    60_000,
  )
})

describe('the protocol as it is', () => {
  it('stays green under the same bad luck', { timeout: 60_000 }, () => {
    for (let seed = 1; seed <= 60; seed += 1) expect(runSimulation(seed, hostileRun).violations).toEqual([])
  })

  it.each(['evaluation', 'receipt'] as const)('stays green when all reads are checked at the moment of %s', readCheck => {
    for (let seed = 1; seed <= 20; seed += 1) expect(runSimulation(seed, { ...hostileRun, readCheck }).violations).toEqual([])
  })
})

/** A core that notices by itself that it is broken has caught the variant too. */
function isCaught(run: () => boolean): boolean {
  try {
    return run()
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('assertion failed')) return true
    throw error
  }
}
