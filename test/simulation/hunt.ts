/** `node test/simulation/hunt.ts [variant...] [--seeds N]`: how many seeds each broken variant takes until it is caught, and by what. */
import { parseArgs } from 'node:util'
import { runSimulation } from './simulation.ts'
import * as profiles from './profiles.ts'
import { brokenVariants, extrasOf, rareVariants } from './variants.ts'

const { values, positionals } = parseArgs({
  options: { seeds: { type: 'string', default: '100' }, catches: { type: 'string', default: '1' }, profile: { type: 'string' } },
  allowPositionals: true,
})
const profile = (Object.entries(profiles).find(([name]) => name === values.profile) ?? [])[1]
for (const variant of [...brokenVariants, ...rareVariants]) {
  if (positionals.length > 0 && !positionals.includes(variant.name)) continue
  const startedAtMs = performance.now()
  const caught: string[] = []
  let seed = variant.fromSeed
  for (; seed < variant.fromSeed + Number(values.seeds) && caught.length < Number(values.catches); seed += 1) {
    let by: string | undefined
    try {
      const [first] = runSimulation(seed, profile ?? variant.options, extrasOf(variant, seed)).violations
      by = first?.invariant === 'storm' ? undefined : first?.invariant
    } catch (error) {
      by = `thrown: ${error instanceof Error ? error.message : String(error)}`
    }
    if (by !== undefined) caught.push(`${seed} (${by})`)
  }
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1)
  process.stdout.write(
    `${variant.name.padEnd(36)} ${caught.length === 0 ? `NOT CAUGHT in ${values.seeds}` : caught.join(', ')}  ${seconds} s\n`,
  )
}
