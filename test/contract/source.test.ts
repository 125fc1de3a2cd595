import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll } from 'vitest'
import { connectorOf } from '../../src/connectors/registry.ts'
import { sourceContract } from './source-contract.ts'

let folder: string
const rows = Array.from({ length: 30_000 }, (_, n) => ({ n: String(n), text: `row ${n}` }))
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nearstate-sources-'))
  const text = `n,text\n${rows.map(row => `${row.n},${row.text}\n`).join('')}`
  await writeFile(join(folder, 'a.csv'), text)
  await writeFile(join(folder, 'b.csv.gz'), gzipSync(text))
  await writeFile(join(folder, 'c.jsonl'), rows.map(row => `${JSON.stringify(row)}\n`).join(''))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const files = connectorOf('files')
const generator = connectorOf('generator')
const everyOther = (from: number): number[] => Array.from({ length: 1000 }, (_, n) => from + 2 * n)

sourceContract('CSV files', () => ({ connector: files, options: { path: folder, format: 'csv' }, records: [...rows, ...rows] }))
sourceContract('JSON lines', () => ({ connector: files, options: { path: join(folder, '*.jsonl'), format: 'jsonl' }, records: rows }))
sourceContract('generator', () => ({
  connector: generator,
  options: { count: 2000, splits: 2 },
  records: [...everyOther(0), ...everyOther(1)],
}))
sourceContract('paced generator', () => ({
  connector: generator,
  options: { count: 50, ratePerSecond: 1000, splits: 1 },
  records: Array.from({ length: 50 }, (_, n) => n),
}))
