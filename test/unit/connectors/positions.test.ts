import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FilesConnector } from '../../../src/connectors/files/files-connector.ts'
import { GeneratorConnector } from '../../../src/connectors/generator-connector.ts'
import type { SourceBatch, SourceConnector, SourceOptions, SplitPosition } from '../../../src/streaming/source.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'positions-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** Reads a split to its end, from a position. */
async function readAll(connector: SourceConnector, options: SourceOptions, position?: SplitPosition): Promise<readonly SourceBatch[]> {
  const [split] = await connector.listSplits(options)
  if (split === undefined) throw new Error('no split')
  let wake = (): void => undefined
  const reader = connector.open(options, split, { onReady: () => wake() }, position)
  const batches: SourceBatch[] = []
  for (;;) {
    const ready = new Promise<void>(resolve => (wake = resolve))
    const taken = reader.take()
    if (taken === 'end') break
    if (taken === undefined) await ready
    else batches.push(taken)
  }
  reader.close()
  return batches
}

const contentOf = (batches: readonly SourceBatch[]) => ({
  records: batches.flatMap(({ records }) => records),
  lines: batches.flatMap(({ lines }) => lines),
  rejected: batches.flatMap(({ rejected }) => rejected),
})

/** A reader opened at any batch's position gives what came from that batch on. */
async function expectResumable(connector: SourceConnector, options: SourceOptions): Promise<void> {
  const batches = await readAll(connector, options)
  expect(batches.length).toBeGreaterThan(3)
  for (let at = 0; at < batches.length; at += Math.ceil(batches.length / 5)) {
    const { position } = batches[at] as SourceBatch
    expect(contentOf(await readAll(connector, options, position))).toEqual(contentOf(batches.slice(at)))
  }
}

describe('a position', () => {
  const lines = Array.from({ length: 12_000 }, (_, i) =>
    i % 97 === 5 ? `"broken ${i}" quote,1` : `${i},"text, with ${i}\nand a line ${i % 7}"`,
  )
  const csv = `\uFEFFid,text\n${lines.join('\n')}\n`

  it('of a CSV file goes on with the same records, lines and rejected records', async () => {
    const path = join(folder, 'a.csv')
    await writeFile(path, csv)
    await expectResumable(new FilesConnector(), { path, format: 'csv' })
  })

  it('of a packed file does too', async () => {
    const path = join(folder, 'a.csv.gz')
    await writeFile(path, gzipSync(csv))
    await expectResumable(new FilesConnector(), { path, format: 'csv' })
  })

  it('of JSON lines does too', async () => {
    const path = join(folder, 'a.jsonl')
    await writeFile(
      path,
      Array.from({ length: 20_000 }, (_, i) => (i % 501 === 3 ? '{broken' : JSON.stringify({ i, text: 'x'.repeat(i % 30) }))).join('\n'),
    )
    await expectResumable(new FilesConnector(), { path, format: 'jsonl' })
  })

  it('of a generator is its next number', async () => {
    await expectResumable(new GeneratorConnector(), { count: 9000, splits: 2 })
  })
})
