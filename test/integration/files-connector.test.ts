import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connectorOf } from '../../src/connectors/registry.ts'
import type { SourceBatch, SourceOptions } from '../../src/streaming/source.ts'
import { hasOnlineRetail, monthFiles } from '../oracle/retail.ts'

const files = connectorOf('files')
let folder: string
const at = (...names: string[]): string => join(folder, ...names)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nearstate-files-'))
  await mkdir(at('months', 'older.csv'), { recursive: true })
  await writeFile(at('months', 'b.csv'), 'id,n\nb,1\nb,2\n')
  await writeFile(at('months', 'a.csv'), gzipSync('id,n\na,1\n')) // gzip, whatever its name says
  await writeFile(at('months', 'c.csv.gz'), Buffer.concat([gzipSync('id,n\n'), gzipSync('c,1\n')]))
  await writeFile(at('months', '.hidden.csv'), 'id\n1\n')
  await writeFile(at('months', 'notes.txt'), 'not a table')
  await writeFile(at('events.jsonl'), '{"n":1}\nbroken\n{"n":2}\n')
  await writeFile(at('odd[1].csv'), 'id\n1\n')
  await mkdir(at('empty'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const names = async (options: SourceOptions): Promise<string[]> => (await files.listSplits(options)).map(split => basename(split.id))

/** Takes everything a split gives. */
async function readAll(path: string, format: 'csv' | 'jsonl'): Promise<SourceBatch[]> {
  const options = { path, format }
  const [split] = await files.listSplits(options)
  if (split === undefined) throw new Error('no split')
  let wake: () => void = () => undefined
  const reader = files.open(options, split, { onReady: () => wake() })
  const batches: SourceBatch[] = []
  for (;;) {
    const ready = new Promise<void>(resolve => (wake = resolve))
    const taken = reader.take()
    if (taken === 'end') break
    if (taken === undefined) await ready
    else batches.push(taken)
  }
  expect(reader.take()).toBe('end')
  reader.close()
  return batches
}

describe('which files a path means', () => {
  it('tells how large each file is, so that the largest are spread first', async () => {
    const [split] = await files.listSplits({ path: at('events.jsonl'), format: 'jsonl' })
    expect(split?.descriptor).toEqual({ path: at('events.jsonl'), share: 1, bytes: 23 })
  })

  it('takes the files of the format directly in a folder, by name', async () =>
    expect(await names({ path: at('months'), format: 'csv' })).toEqual(['a.csv', 'b.csv', 'c.csv.gz']))

  it('takes globs, lists and files, each file once and in order', async () =>
    expect(await names({ path: [at('months', 'c*'), at('months', '*.csv'), at('months', 'a.csv')], format: 'csv' })).toEqual([
      'a.csv',
      'b.csv',
      'c.csv.gz',
    ]))

  it('takes a name that exists as it is, though it looks like a glob', async () =>
    expect(await names({ path: at('odd[1].csv'), format: 'csv' })).toEqual(['odd[1].csv']))

  it.each([
    ['a missing file', 'nowhere.csv', 'there is no "'],
    ['a glob that matches nothing', 'nowhere-*.csv', 'matches no file'],
    ['a folder without such files', 'empty', 'holds no *.csv or *.csv.gz'],
  ])('refuses %s and names it', async (_, name, message) => {
    const refusal = expect.objectContaining({ code: 'NOT_FOUND', message: expect.stringMatching(`${name.replace('*', '\\*')}"`) })
    await expect(files.listSplits({ path: at(name), format: 'csv' })).rejects.toEqual(refusal)
    await expect(files.listSplits({ path: at(name), format: 'csv' })).rejects.toThrow(message)
  })

  it.each([
    [{ path: 'x', format: 'xml' }, 'format is "xml", one of csv, jsonl is wanted'],
    [{ path: 'x', format: 'csv', encoding: 'latin1' }, 'unknown option "encoding"'],
    [{ path: [], format: 'csv' }, 'the list of paths is empty'],
    [{ path: 5, format: 'csv' }, 'path is number'],
  ])('refuses %j', async (options, message) => {
    await expect(files.listSplits(options)).rejects.toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(message) }),
    )
  })
})

describe('reading a file', () => {
  it.each(['a.csv', 'c.csv.gz'])('unpacks %s, told by its content', async name =>
    expect((await readAll(at('months', name), 'csv')).flatMap(batch => batch.records)).toEqual([{ id: name[0], n: '1' }]),
  )

  it('gives records with lines, and rejects beside them', async () => {
    const batches = await readAll(at('events.jsonl'), 'jsonl')
    expect(batches.flatMap(batch => batch.records)).toEqual([{ n: 1 }, { n: 2 }])
    expect(batches.flatMap(batch => batch.lines)).toEqual([1, 3])
    expect(batches.flatMap(batch => batch.rejected)).toMatchObject([{ line: 2, raw: 'broken' }])
    expect(batches[0]?.origin).toBe(at('events.jsonl'))
  })

  it('fails with path and place when gzip data end too early, after what was there', async () => {
    const rows = Array.from({ length: 40_000 }, (_, row) => `${row},${(row * 7919) % 104_729}`)
    const packed = gzipSync(`id,n\n${rows.join('\n')}\n`)
    await writeFile(at('cut.csv.gz'), packed.subarray(0, packed.length / 2))
    await expect(readAll(at('cut.csv.gz'), 'csv')).rejects.toThrow(
      expect.objectContaining({
        code: 'UNAVAILABLE',
        message: expect.stringMatching(/cut\.csv\.gz" after byte \d+ of its content: the gzip data ends too early/),
      }),
    )
  })

  it('fails with the path when gzip data are damaged', async () => {
    const packed = gzipSync('id,n\n1,2\n')
    packed[12] = (packed[12] ?? 0) ^ 0xff
    await writeFile(at('damaged.csv.gz'), packed)
    await expect(readAll(at('damaged.csv.gz'), 'csv')).rejects.toThrow(/damaged\.csv\.gz".*: the gzip data is damaged/)
  })

  it('stops reading ahead when nothing is taken, and leaves nothing behind when closed', async () => {
    await writeFile(at('large.csv'), `id\n${'x'.repeat(1000)}\n`.repeat(4000))
    const options = { path: at('large.csv'), format: 'csv' }
    const [split] = await files.listSplits(options)
    let ready = 0
    const reader = files.open(options, split ?? { id: '', descriptor: {} }, { onReady: () => (ready += 1) })
    await expect.poll(() => ready).toBe(4)
    await new Promise(resolve => setTimeout(resolve, 50))
    expect(ready).toBe(4)
    reader.take()
    await expect.poll(() => ready).toBe(5)
    reader.close()
  })

  it.skipIf(!hasOnlineRetail)('reads a month of Online Retail without a reject', async () => {
    const batches = await readAll(monthFiles()[0] ?? '', 'csv')
    expect(batches.reduce((sum, batch) => sum + batch.records.length, 0)).toBe(42_481)
    expect(batches.flatMap(batch => batch.rejected)).toEqual([])
  })
})
