/** `npm run retail-streams` as people run it: against a plain program and the known hashes, on clusters of several shapes. */
import { spawn } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { readFileSync } from 'node:fs'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hasOnlineRetail, monthFiles, onlineRetail } from '../oracle/retail.ts'
import { plainFigures } from '../oracle/retail-streams.ts'

const main = resolve(import.meta.dirname, '../../bench/retail-streams/main.ts')

/** What the issue says for all files. */
const allMonths = {
  spend30d: { rows: 343823, sha256: '0844cd0e7b73bcdf1650c0e7a4a802f06e90d91c1c5a8d78c69cf30cf3f498cf' },
  sessions: { rows: 16359, sha256: '88b609732218a05074fc6058f23701e9c1a4cce09b4cc6f19cb46d5c934927f3' },
  topProducts: { rows: 2710, sha256: '136fe5ea0ca83ac88b78f127c38b719f04db39ea1b54b6742e84ffadd39657bc' },
  silences: { rows: 4194, sha256: '8ace3d71842210e3f8da9e6c331e8d0a1b9c0ecd22c84570a34c47631bc7a43c' },
  returns: { rows: 2212, sha256: 'bca70c42d62295a7cffb50140f8c02d0ffbc9362e03562d242b86b573987288b' },
  purchasesWithoutReturn: 313965,
}

interface Run {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

async function retailStreams(...args: string[]): Promise<Run> {
  const child = spawn(process.execPath, ['--conditions=nearstate-source', main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const code = await new Promise<number | null>(ended => child.on('close', ended))
  return { code, stdout, stderr }
}

/** The line about the run, and the results. */
async function resultsOf(...args: string[]): Promise<readonly [run: Record<string, unknown>, results: unknown]> {
  const { code, stdout, stderr } = await retailStreams('--json', ...args)
  expect(stderr).toBe('')
  expect(code).toBe(0)
  const [run = '', results = '', ...others] = stdout.split('\n')
  expect(others).toEqual([''])
  return [JSON.parse(run) as Record<string, unknown>, JSON.parse(results)]
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nearstate-retail-streams-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const header = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country'
const lineOf = (invoice: string, code: string, quantity: number | string, date: string, customer = '1.0'): string =>
  `${invoice},${code},"LAMP, ""RED""",${quantity},${date},0.5,${customer},France`

async function fileOf(name: string, lines: readonly string[]): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, `${[header, ...lines].join('\n')}\n`)
  return path
}

/** Every third line of some months, those of a month spread over files that overlap in time, and named against the order of time. */
async function thinned(months: readonly string[]): Promise<readonly string[]> {
  const data = join(folder, 'thinned')
  await mkdir(data)
  const paths: string[] = []
  for (const [index, month] of months.entries()) {
    const [, ...lines] = gunzipSync(readFileSync(month)).toString('utf8').trimEnd().split('\n')
    for (const part of [0, 1]) {
      const path = join(data, `${9 - index}-${part}.csv${part === 0 ? '.gz' : ''}`)
      const text = `${[header, ...lines.filter((_, i) => i % 6 === part)].join('\n')}\n`
      await writeFile(path, part === 0 ? gzipSync(text) : text)
      paths.push(path)
    }
  }
  return paths
}

describe('retail-streams', { timeout: 240_000 }, () => {
  it.skipIf(!hasOnlineRetail)('gives the results of all of Online Retail', async () => {
    const [run, results] = await resultsOf('--data', onlineRetail, '--nodes', '1', '--shards', '2')
    expect(results).toEqual(allMonths)
    expect(run).toMatchObject({ nodes: 1, shards: 2, lines: 431_673, killed: null, restarts: 0 })
  })

  it.skipIf(!hasOnlineRetail)(
    'gives what a plain program gives for parts of some months in files of any order, with three nodes',
    async () => {
      const paths = await thinned(monthFiles().filter((_, month) => month < 4))
      const expected = plainFigures(paths)
      expect((expected['silences'] as { rows: number }).rows).toBeGreaterThan(100)
      expect((expected['returns'] as { rows: number }).rows).toBeGreaterThan(20)
      const [, results] = await resultsOf('--data', join(folder, 'thinned'), '--nodes', '3')
      expect(results).toEqual(expected)
    },
  )

  it.skipIf(!hasOnlineRetail)('gives the same when a node is killed on the way', async () => {
    const months = monthFiles().slice(4, 7)
    const data = join(folder, 'months')
    await mkdir(data)
    for (const [index, month] of months.entries()) await copyFile(month, join(data, `${index}.csv.gz`))
    const { code, stdout } = await retailStreams('--json', '--data', data, '--nodes', '3', '--kill-after', '3s')
    expect(code).toBe(0)
    const [run = '', results = ''] = stdout.split('\n')
    expect(JSON.parse(results)).toEqual(plainFigures(months))
    const { killed, restarts, checkpoints, ranMs } = JSON.parse(run) as Record<string, number | string>
    expect(killed).toBe('node-3')
    expect(restarts).toBeGreaterThan(0)
    expect(checkpoints).toBeGreaterThan(0)
    expect(ranMs).toBeGreaterThan(6000)
  })

  it('takes moments at the edges as they are meant', async () => {
    const data = await fileOf('edges.csv', [
      lineOf('1', 'a', 2, '2011-01-01 00:00:00'),
      lineOf('2', 'a', 2, '2011-01-01 00:29:59'), // the same session, a second before it would be another
      lineOf('3', 'b', 1, '2011-01-01 00:59:59'),
      lineOf('3', 'b', 1, '2011-01-01 00:59:59'),
      lineOf('C4', 'a', -2, '2011-01-31 00:00:00'), // 30 days after the first, less after the second
      lineOf('C5', 'b', -1, '2011-01-31 00:59:59'),
      lineOf('C5', 'b', -2, '2011-01-31 00:59:59'),
      lineOf('6', 'c', 0, '2011-04-01 00:59:59'), // 60 days after the line before
      lineOf('7', 'd', 5, '2011-04-02 12:00:00', '2.0'),
      lineOf('8', 'e', 5, '2011-06-01 12:00:01'), // its silence is not due when the input ends
      lineOf('9', 'e', 1, '2011-06-05 00:00:00', ''),
    ])
    const [, results] = await resultsOf('--data', data, '--nodes', '1')
    expect(results).toEqual(plainFigures([data]))
    expect(results).toMatchObject({ sessions: { rows: 7 }, returns: { rows: 4 }, silences: { rows: 2 }, purchasesWithoutReturn: 2 })
  })

  it('says so when lines are more out of order than it was told', async () => {
    const lines = [lineOf('1', 'a', 1, '2011-01-05 00:00:00'), lineOf('2', 'a', 1, '2011-01-03 00:00:00')]
    // The watermark moves on between batches, and a batch is a chunk of the file.
    const many = Array.from({ length: 3000 }, () => lines[0] ?? '')
    const data = await fileOf('disorder.csv', [...many, ...lines])
    const refused = await retailStreams('--json', '--data', data, '--nodes', '1')
    expect(refused).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/came too late .* --disorder/) })
    const [, results] = await resultsOf('--data', data, '--nodes', '1', '--disorder', '3d')
    expect(results).toEqual(plainFigures([data]))
  })

  it('fails with file and line where one cannot be read', async () => {
    const data = await fileOf('broken.csv', [lineOf('1', 'a', 1, '2011-01-05 00:00:00'), lineOf('2', 'a', 'six', '2011-01-05 00:00:00')])
    const { code, stdout, stderr } = await retailStreams('--json', '--data', data, '--nodes', '1')
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain('broken.csv, line 3')
    expect(stderr).toContain('Quantity is "six", a whole number is wanted')
  })

  it('fails when there is nothing left to kill', async () => {
    const data = await fileOf('empty.csv', [])
    const { code, stdout, stderr } = await retailStreams('--json', '--data', data, '--nodes', '2', '--kill-after', '8s')
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain('No node was killed: the job had completed before')
  })

  it.each([
    [[], 2, '--data is missing'],
    [['--data', join(tmpdir(), 'no-such-folder')], 1, 'no-such-folder'],
    [['--data', resolve(import.meta.dirname)], 1, 'holds no *.csv or *.csv.gz'],
    [['--data', '.', '--nodes', '0'], 2, '--nodes is "0", a whole number from 1 to 16 is wanted'],
    [['--data', '.', '--shards', 'two'], 2, '--shards is "two"'],
    [['--data', '.', '--nodes', '1', '--kill-after', '2s'], 2, '--kill-after needs at least two --nodes'],
    [['--data', '.', '--kill-after', 'soon'], 2, 'Cannot read --kill-after "soon"'],
    [['--data', '.', '--node', '1'], 2, "Unknown option '--node'"],
  ])('fails with a clear error for %j', async (args, code, message) => {
    expect(await retailStreams(...args)).toEqual({ code, stdout: '', stderr: expect.stringContaining(message) })
  })
})
