/** What is published, as a user gets it: packed, installed elsewhere, run by every supported Node. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const run = promisify(execFile)
const root = resolve(import.meta.dirname, '../..')
let folder: string

const npm = (cwd: string, ...args: string[]): Promise<{ stdout: string }> => run('npm', args, { cwd, maxBuffer: 2 ** 26 })

const program = `
import { connect, defineKey } from 'nearstate'
const Customer = defineKey('customer', 'string')
const grid = await connect({ endpoints: [process.argv[2]] })
const profiles = grid.map('profiles', Customer)
await profiles.set('17850', { points: 1 })
await grid.functions.deploy('functions.ts')
const points = await profiles.invoke('17850', 'addPoints', { points: 5 })
const job = await grid.jobs.submit('job.ts')
const ended = await job.ended()
const totals = []
for await (const [key, value] of grid.map('totals', Customer).scan()) totals.push([key, value.total])
console.log(JSON.stringify({ points, status: ended.status, totals: totals.sort() }))
await grid.close()
`
const functions = `
import { defineFunctions, entryFunction } from 'nearstate/functions'
export default defineFunctions({
  addPoints: entryFunction<{ points: number }>()((entry, args: { points: number }) => {
    const points = (entry.get()?.points ?? 0) + args.points
    entry.set({ points })
    return points
  }),
})
`
const job = `
import { defineJob, defineKey, generator, sum } from 'nearstate/stream'
const Customer = defineKey('customer', 'string')
export default defineJob('totals', flow => {
  flow.source('numbers', generator({ events: n => ({ customer: n % 2 === 0 ? 'even' : 'odd', n }), count: 1000 }))
    .keyBy('by parity', Customer, row => row.customer)
    .aggregate('total', { total: sum(row => row.n) })
    .sink('to totals', flow.map('totals', Customer))
})
`

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nearstate-package-'))
  await npm(root, 'pack', '--pack-destination', folder)
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'user', type: 'module', private: true }))
  await npm(
    folder,
    'install',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    './nearstate-0.1.0.tgz',
    'node-22@npm:node@22',
    'node-26@npm:node@26',
  )
  for (const [name, text] of Object.entries({ 'program.mjs': program, 'functions.ts': functions, 'job.ts': job }))
    await writeFile(join(folder, name), text)
}, 180_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

const nodes = { 22: 'node_modules/node-22/bin/node', 24: process.execPath, 26: 'node_modules/node-26/bin/node' }

describe('the packed and installed package', () => {
  it.each(Object.entries(nodes))(
    'starts a cluster and serves map, function and job on Node %s',
    { timeout: 60_000 },
    async (major, binary) => {
      const node = resolve(folder, binary)
      expect((await run(node, ['-v'])).stdout).toMatch(new RegExp(`^v${major}\\.`))
      const dev = spawn(node, ['node_modules/nearstate/dist/cli/main.js', 'dev', '--json', '--nodes', '2', '--port', '0'], { cwd: folder })
      let output = ''
      let problems = ''
      dev.stderr.on('data', text => (problems += String(text)))
      try {
        const endpoint = await new Promise<string>((ready, failed) => {
          dev.once('exit', code => failed(new Error(`dev ended with ${code}: ${problems}`)))
          dev.stdout.on('data', text => {
            output += String(text)
            const line = output.split('\n').find(l => l.includes('"ready"'))
            if (line !== undefined) ready((JSON.parse(line) as { endpoints: string[] }).endpoints[0] as string)
          })
        })
        const { stdout } = await run(node, ['program.mjs', endpoint], { cwd: folder })
        expect(JSON.parse(stdout)).toEqual({
          points: 6,
          status: 'completed',
          totals: [
            ['even', 249_500],
            ['odd', 250_000],
          ],
        })
        const { stdout: status } = await run(
          node,
          ['node_modules/nearstate/dist/cli/main.js', 'status', '--json', '--endpoint', endpoint],
          { cwd: folder },
        )
        expect(JSON.parse(status)).toMatchObject({ state: 'healthy', nodes: 2 })
      } finally {
        dev.kill('SIGTERM')
        if (dev.exitCode === null) await once(dev, 'exit')
      }
      expect(dev.exitCode).toBe(0)
    },
  )

  it('brings its demo', { timeout: 60_000 }, async () => {
    const { stdout } = await run(
      process.execPath,
      ['node_modules/nearstate/dist/cli/main.js', 'demo', '--json', '--nodes', '1', '--lines', '2000', '--rate', '20000'],
      {
        cwd: folder,
      },
    )
    expect(JSON.parse(stdout)).toMatchObject({ lines: 2000, nodes: 1, console: null })
  })

  it('gives types to a strict TypeScript project', { timeout: 60_000 }, async () => {
    const types = `
import { connect, defineKey, NearstateError } from 'nearstate'
import { startCluster } from 'nearstate/node'
import type functions from './functions.ts'
const Customer = defineKey('customer', 'string')
const grid = await connect({ endpoints: ['localhost:7400'] })
const points: number = await grid.map('profiles', Customer).invoke<typeof functions>('17850', 'addPoints', { points: 5 })
// @ts-expect-error the key space is strings
await grid.map('profiles', Customer).get(17850)
export { points, startCluster, NearstateError }
`
    await writeFile(join(folder, 'types.ts'), types)
    await writeFile(
      join(folder, 'tsconfig.json'),
      JSON.stringify({
        compilerOptions: {
          strict: true,
          noEmit: true,
          module: 'nodenext',
          target: 'es2024',
          skipLibCheck: false,
          allowImportingTsExtensions: true,
          types: [],
        },
        include: ['types.ts', 'functions.ts', 'job.ts'],
      }),
    )
    await run(process.execPath, [join(root, 'node_modules/@typescript/native/bin/tsc'), '-p', folder], { cwd: folder }).catch(
      (failure: { stdout: string }) => {
        throw new Error(failure.stdout)
      },
    )
  })
})
