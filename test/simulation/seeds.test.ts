import { describe, expect, it } from 'vitest'
import { arrowNames, faultNames } from './coverage.ts'
import { Counters } from './engine/counters.ts'
import { suspicionsOnly } from './faults/fault.ts'
import { hostileRun, variedRun } from './options.ts'
import { runSimulation } from './simulation.ts'

const seeds = 300

describe('clusters under faults', () => {
  it(`keep every promise over ${seeds} seeds, which meet every kind of fault and every arrow of the protocol`, { timeout: 360_000 }, () => {
    const counters = new Counters()
    for (let seed = 1; seed <= seeds; seed += 1) {
      const result = runSimulation(seed, variedRun(seed))
      expect(result.violations, `seed ${seed}`).toEqual([])
      expect(result.undecidedKeys, `seed ${seed}`).toBe(0)
      expect(result.operations, `seed ${seed}`).toBeGreaterThanOrEqual(1000)
      counters.merge(result.counters)
    }
    process.stdout.write(
      `${counters
        .rows()
        .map(([name, count]) => `${name} ${count}`)
        .join('\n')}\n`,
    )
    expect(counters.missing([...faultNames, ...arrowNames])).toEqual([])
  })

  it('lose nothing by wrong suspicions alone (I11)', { timeout: 180_000 }, () => {
    for (let seed = 1; seed <= 60; seed += 1) {
      const { violations, counters } = runSimulation(seed, { ...hostileRun, weights: suspicionsOnly })
      expect(violations, `seed ${seed}`).toEqual([])
      expect(counters.get('table.recovered'), `seed ${seed}`).toBe(0)
    }
  })

  it('give the same run for the same seed', () => {
    const trace = (): readonly string[] => runSimulation(7, { ...hostileRun, traced: true }).trace
    expect(trace()).toEqual(trace())
  })
})
