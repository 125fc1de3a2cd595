/** `npm run simulate -- --seeds N --from S [--hostile] [--trace]`: runs seeds one after the other; stops at the first that fails, with its trace. */
import { parseArgs } from 'node:util'
import { Counters } from './engine/counters.ts'
import { hostileRun, variedRun } from './options.ts'
import type { SimulationOptions } from './options.ts'
import { runSimulation, type SimulationResult } from './simulation.ts'
import { arrowNames, faultNames } from './coverage.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '300' },
    from: { type: 'string', default: '1' },
    hostile: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: false },
  },
})

const seeds = Number(values.seeds)
const from = Number(values.from)
if (!Number.isSafeInteger(seeds) || seeds < 1 || !Number.isSafeInteger(from)) {
  process.stderr.write(`Cannot simulate --seeds ${values.seeds} --from ${values.from}: both must be whole numbers, seeds at least 1\n`)
  process.exit(2)
}
const optionsOf = (seed: number): SimulationOptions => (values.hostile ? hostileRun : variedRun(seed))
const counters = new Counters()
const startedAtMs = performance.now()
let operations = 0
let undecided = 0
for (let seed = from; seed < from + seeds; seed += 1) {
  const result = runSimulation(seed, { ...optionsOf(seed), traced: values.trace })
  counters.merge(result.counters)
  operations += result.operations
  undecided += result.undecidedKeys
  if (result.violations.length > 0) {
    printFailure(values.trace ? result : runSimulation(seed, { ...optionsOf(seed), traced: true }))
    process.exit(1)
  }
  if (values.trace && seeds === 1) process.stdout.write(`${result.trace.join('\n')}\n`)
  if (seed % 100 === 0) process.stdout.write(`seed ${seed}: ${((performance.now() - startedAtMs) / 1000).toFixed(0)} s\n`)
}
for (const [name, count] of counters.rows()) process.stdout.write(`${name.padEnd(40)} ${count}\n`)
const missing = [...counters.missing(faultNames), ...counters.missing(arrowNames)]
process.stdout.write(
  `${seeds} seeds, ${operations} operations, ${undecided} keys undecided, 0 violations, ${((performance.now() - startedAtMs) / 1000).toFixed(1)} s\n`,
)
if (missing.length > 0) process.stdout.write(`never happened: ${missing.join(', ')}\n`)

function printFailure(result: SimulationResult): void {
  process.stdout.write(
    `${result.trace.slice(values.trace ? 0 : -400).join('\n')}\n\nseed ${result.seed} FAILED (${values.hostile ? '--hostile ' : ''}--from ${result.seed} --seeds 1 --trace for the whole trace)\n`,
  )
  for (const { invariant, atMs, text } of result.violations.slice(0, 5))
    process.stdout.write(`${invariant} at ${atMs.toFixed(2)}: ${text}\n`)
}
