import { describe, expect, it } from 'vitest'
import type { Violation } from './history.ts'
import { hostileRun } from './options.ts'
import { allRules, runSimulation } from './simulation.ts'
import { brokenVariants, extrasOf, hiddenRules, rareVariants } from './variants.ts'

/** Far more than any variant needs today: what a change of the code makes of luck stays within it. */
const seedsMax = 400

const ruleNames = Object.values(allRules).flatMap(rules => Object.keys(rules))

describe('the protocol with a rule taken away', () => {
  it('is tried for every rule', () => {
    expect([...[...brokenVariants, ...rareVariants].map(({ name }) => name), ...hiddenRules].toSorted()).toEqual(ruleNames.toSorted())
  })

  it.each(brokenVariants.map(variant => [variant.name, variant] as const))(
    'is caught: %s',
    (_, variant) => {
      for (let seed = variant.fromSeed; seed < variant.fromSeed + seedsMax; seed += 1) {
        if (isCaught(() => runSimulation(seed, variant.options, extrasOf(variant, seed)).violations)) return
      }
      expect.fail(`${variant.name} went through ${seedsMax} seeds from ${variant.fromSeed}`)
    },
    120_000,
  )
})

describe('the protocol as it is', () => {
  it('stays green under the bad luck of every variant', { timeout: 180_000 }, () => {
    for (const variant of brokenVariants) {
      for (let seed = variant.fromSeed; seed < variant.fromSeed + 3; seed += 1) {
        expect(runSimulation(seed, variant.options, extrasOf(variant, seed, true)).violations, `${variant.name} ${seed}`).toEqual([])
      }
    }
  })

  it('stays green under the same bad luck', { timeout: 180_000 }, () => {
    for (let seed = 1; seed <= 60; seed += 1) expect(runSimulation(seed, hostileRun).violations).toEqual([])
  })

  it.each(['evaluation', 'receipt'] as const)('stays green when all reads are checked at the moment of %s', readCheck => {
    for (let seed = 1; seed <= 20; seed += 1) expect(runSimulation(seed, { ...hostileRun, readCheck }).violations).toEqual([])
  })
})

/** A core that notices by itself that it is broken has caught the variant too. */
function isCaught(run: () => readonly Violation[]): boolean {
  try {
    return run().some(({ invariant }) => invariant !== 'storm')
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('assertion failed')) return true
    throw error
  }
}
