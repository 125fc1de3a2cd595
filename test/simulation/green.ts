/** `node test/simulation/green.ts [--seeds N] [--from S]`: the protocol as it is, under every profile and scenario of the broken variants. */
import { parseArgs } from 'node:util'
import { runSimulation } from './simulation.ts'
import { brokenVariants, extrasOf } from './variants.ts'

const { values } = parseArgs({ options: { seeds: { type: 'string', default: '20' }, from: { type: 'string', default: '1' } } })
const from = Number(values.from)
const seen = new Set<string>()
for (const variant of brokenVariants) {
  const { name, options, faults, ambush } = variant
  const key = JSON.stringify(options) + (faults?.name ?? '') + (ambush?.name ?? '')
  if (seen.has(key)) continue
  seen.add(key)
  const bad: string[] = []
  for (let seed = from; seed < from + Number(values.seeds); seed += 1) {
    const { violations } = runSimulation(seed, options, extrasOf(variant, seed, true))
    if (violations[0] !== undefined) bad.push(`${seed} ${violations[0].invariant}: ${violations[0].text.slice(0, 160)}`)
  }
  process.stdout.write(`${name.padEnd(36)} ${bad.length === 0 ? 'green' : `\n    ${bad.join('\n    ')}`}\n`)
}
