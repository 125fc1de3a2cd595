/** `node test/simulation/streams/hunt.ts [--rule NAME] [--seeds N] [--from S]`: seeds one after the other, with all rules or without one. */
import { parseArgs } from 'node:util'
import { everyCheckpointRule } from '../../../src/streaming/checkpoint/rules.ts'
import { Counters } from '../engine/counters.ts'
import { hostileStream, runStreamSimulation } from './stream-simulation.ts'

const { values } = parseArgs({
  options: { rule: { type: 'string' }, seeds: { type: 'string', default: '50' }, from: { type: 'string', default: '1' } },
})
const rules = values.rule === undefined ? everyCheckpointRule : { ...everyCheckpointRule, [values.rule]: false }
const counters = new Counters()
const from = Number(values.from)
for (let seed = from; seed < from + Number(values.seeds); seed += 1) {
  const result = runStreamSimulation(seed, hostileStream, rules)
  counters.merge(result.counters)
  if (result.violations.length === 0) continue
  process.stdout.write(`seed ${seed} (${result.attempts} attempts)\n`)
  for (const { invariant, atMs, text } of result.violations.slice(0, 4))
    process.stdout.write(`  ${invariant} at ${atMs.toFixed(0)}: ${text}\n`)
  if (values.rule !== undefined) break
}
for (const [name, count] of counters.rows()) process.stdout.write(`${name.padEnd(24)} ${count}\n`)
