/**
 * Everything that a change must pass besides its tests: types, format, lint, import boundaries, current wire code, unused code.
 * Runs all of them and fails at the end, so that one run shows every complaint.
 */
import { spawnSync } from 'node:child_process'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..')
const bin = (name: string): string => join(root, 'node_modules/.bin', name)

interface Step {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  /** Says what is wrong with a run that exited 0. */
  readonly suspect?: (output: string) => string | undefined
}

const steps: readonly Step[] = [
  { name: 'types', command: process.execPath, args: [join(root, 'node_modules/@typescript/native/bin/tsc'), '-p', root] },
  { name: 'format', command: bin('biome'), args: ['format', '.'] },
  { name: 'lint', command: bin('oxlint'), args: ['--type-aware', '--deny-warnings', '.'] },
  {
    name: 'import boundaries',
    command: bin('depcruise'),
    args: ['--config', '.dependency-cruiser.cjs', 'src'],
    suspect: output => ((/\((\d+) modules/.exec(output)?.[1] ?? '0') === '0' ? 'no module was read, so nothing was checked' : undefined),
  },
  { name: 'wire code is current', command: process.execPath, args: [join(root, 'scripts/generate-wire.ts'), '--check'] },
  { name: 'protocol lint', command: bin('buf'), args: ['lint', 'proto'] },
  { name: 'unused code', command: bin('knip'), args: [] },
]

let failed = 0
for (const step of steps) {
  const started = performance.now()
  const run = spawnSync(step.command, [...step.args], { cwd: root, encoding: 'utf8' })
  const output = `${run.stdout}${run.stderr}`
  const complaint = run.status === 0 ? step.suspect?.(output) : (run.error?.message ?? `exit code ${run.status}`)
  console.log(
    `${complaint === undefined ? 'ok  ' : 'FAIL'} ${step.name} (${((performance.now() - started) / 1000).toFixed(1)} s)${complaint === undefined ? '' : `: ${complaint}`}`,
  )
  if (complaint !== undefined) {
    failed += 1
    console.log(output)
  }
}
process.exit(failed === 0 ? 0 : 1)
