import { spawn } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { orderLine } from '../../examples/retail-360/generate-orders.ts'
import { allMonths, hasOnlineRetail, monthFiles, onlineRetail, retailFigures } from '../oracle/retail.ts'

const main = resolve(import.meta.dirname, '../../src/cli/main.ts')

interface Run {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

async function demo(...args: string[]): Promise<Run> {
  const child = spawn(process.execPath, [main, 'demo', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const code = await new Promise<number | null>(ended => child.on('close', ended))
  return { code, stdout, stderr }
}

/** The one line that --json prints. */
async function demoJson(...args: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await demo('--json', ...args)
  expect(stderr).toBe('')
  expect(code).toBe(0)
  expect(stdout.endsWith('}\n') && stdout.indexOf('\n') === stdout.length - 1).toBe(true)
  return JSON.parse(stdout) as Record<string, unknown>
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nearstate-demo-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('nearstate demo', { timeout: 120_000 }, () => {
  it.skipIf(!hasOnlineRetail)('gives the figures of all of Online Retail, with three nodes', async () => {
    const result = await demoJson('--data', onlineRetail)
    expect(result).toMatchObject({ ...allMonths, deadLetters: 0, nodes: 3, shards: 1, console: null })
    expect(result['replayKilled']).toMatch(/^node-\d$/)
    expect(result['restarts']).toBeGreaterThan(0)
    expect(result['checkpoints']).toBeGreaterThan(2)
    expect(result['reads']).toBeGreaterThan(0)
    expect(result['eventsPerSecond']).toBeGreaterThan(0)
    expect(result['readP99Ms']).toBeGreaterThanOrEqual(result['readP50Ms'] as number)
  })

  it.skipIf(!hasOnlineRetail)('gives what a plain program gives for some months, whatever the shards', async () => {
    const months = monthFiles().filter((_, month) => month === 3 || month === 8)
    const data = join(folder, 'months')
    await mkdir(data)
    // Named so that the later month is read first; gzip is told by content.
    for (const [index, month] of months.entries()) await copyFile(month, join(data, `${9 - index}.csv`))
    expect(await demoJson('--data', data, '--nodes', '1', '--shards', '2')).toMatchObject({ ...retailFigures(months), nodes: 1, shards: 2 })
  })

  it('counts broken rows and goes on', async () => {
    const header = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n'
    const good = '536365,1,LAMP,6,2010-12-01 08:26:00,2.55,17850.0,France\n'
    const broken = [
      '536366,1,"OPEN,6,2010-12-01 08:26:00,2.55,17850.0,France\n',
      '536367,1\n',
      '536368,1,LAMP,six,2010-12-01 08:26:00,2.55,1.0,France\n',
    ]
    const anonymous = '536369,1,LAMP,1,2010-12-01 08:26:00,2.55,,France\n'
    await writeFile(join(folder, 'broken.csv'), gzipSync(header + good + broken.join('') + anonymous + good))
    expect(await demoJson('--data', join(folder, 'broken.csv'), '--nodes', '1')).toMatchObject({
      lines: 3,
      unknownCustomer: 1,
      customers: 1,
      deadLetters: 3,
      topCustomer: '17850',
      topProfile: { invoices: 1, lines: 2, units: 12, revenueMills: 30600 },
    })
  })

  it('generates orders without data, the same for one seed', async () => {
    const lines = Array.from({ length: 3000 }, (_, n) => orderLine(7, n))
    const known = lines.filter(line => line.customerId !== undefined)
    expect(await demoJson('--nodes', '1', '--lines', '3000', '--rate', '100000', '--seed', '7')).toMatchObject({
      lines: 3000,
      unknownCustomer: 3000 - known.length,
      customers: new Set(known.map(line => line.customerId)).size,
      revenueMills: known.reduce((sum, line) => sum + line.revenueMills, 0),
      deadLetters: 0,
    })
  })

  it('ends with a summary for people, without control characters where there is no terminal', async () => {
    const { code, stdout, stderr } = await demo('--nodes', '1', '--lines', '2000', '--rate', '100000')
    expect(stderr).toMatch(/^Starting 1 node .*\nJob "retail-360" runs .*\nAll of it is processed.*\n/)
    expect(code).toBe(0)
    expect(stdout).toContain('What the grid knows now')
    expect(stdout).toMatch(/order lines +2,000 in/)
    expect(stdout).not.toMatch(/[\r\u001b]/)
  })

  it.each([
    [['--data', join(tmpdir(), 'no-such-folder')], 'NOT_FOUND', 'no-such-folder'],
    [['--data', resolve(import.meta.dirname)], 'NOT_FOUND', 'holds no *.csv or *.csv.gz'],
    [['--data', '.', '--seed', '5'], 'INVALID_ARGUMENT', "'--data <dir>' cannot be used with option '--seed <n>'"],
    [['--nodes', 'three'], 'INVALID_ARGUMENT', '--nodes is "three"'],
  ])('fails with a clear error for %j', async (args, code, message) => {
    const run = await demo('--json', ...args)
    expect(run.code).not.toBe(0)
    expect(run.stdout).toBe('')
    const { error } = JSON.parse(run.stderr) as { error: { code: string; message: string } }
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) })
  })
})
