import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { FilesConnector } from '../../../src/connectors/files/files-connector.ts'
import { PacedReader } from '../../../src/connectors/files/paced-reader.ts'
import type { SourceBatch, SplitReader } from '../../../src/streaming/source.ts'

const batchOf = (from: number, count: number): SourceBatch => ({
  origin: 'a.csv',
  records: Array.from({ length: count }, (_, i) => from + i),
  lines: Array.from({ length: count }, (_, i) => from + i + 1),
  rejected: [{ line: from, reason: 'broken', raw: '' }],
  position: from,
})

function readerOf(batches: (SourceBatch | undefined)[]): SplitReader {
  return { take: () => (batches.length === 0 ? 'end' : batches.shift()), close: () => undefined }
}

describe('a file read at a rate', () => {
  beforeAll(() => void vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] }))
  afterAll(() => void vi.useRealTimers())

  it('gives what is due, and all of it once', () => {
    const woken = vi.fn()
    const reader = new PacedReader(readerOf([batchOf(0, 25), undefined, batchOf(25, 10)]), 100, { onReady: woken })
    expect(reader.take()).toBeUndefined()
    vi.advanceTimersByTime(100)
    expect(woken).toHaveBeenCalled()
    const first = reader.take() as SourceBatch
    expect(first).toMatchObject({ records: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], position: 0, rejected: [{ line: 0 }] })
    expect(reader.take()).toBeUndefined()
    vi.advanceTimersByTime(200)
    const second = reader.take() as SourceBatch
    expect(second).toMatchObject({ lines: Array.from({ length: 15 }, (_, i) => i + 11), rejected: [] })
    // What it was read from goes on from the first piece: no place is named a second time.
    expect(second).not.toHaveProperty('position')
    expect(reader.take()).toBeUndefined()
    vi.advanceTimersByTime(100)
    expect(reader.take()).toMatchObject({ records: { length: 10 }, position: 25 })
    expect(reader.take()).toBe('end')
    reader.close()
  })

  it('catches up by one second at most', () => {
    const reader = new PacedReader(readerOf([batchOf(0, 1000)]), 100, { onReady: () => undefined })
    expect(reader.take()).toBeUndefined()
    vi.advanceTimersByTime(60_000)
    expect(reader.take()).toMatchObject({ records: { length: 100 } })
    reader.close()
  })
})

describe('files with a rate', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'paced-'))
    await writeFile(join(folder, 'a.csv'), 'x'.repeat(299))
    await writeFile(join(folder, 'b.csv'), 'x'.repeat(100))
    await writeFile(join(folder, 'c.csv'), '')
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('share it as their bytes are', async () => {
    const splits = await new FilesConnector().listSplits({ path: folder, format: 'csv', ratePerSecond: 10 })
    expect(splits.map(({ descriptor }) => descriptor['share'])).toEqual([0.7475, 0.25, 0.0025])
  })

  it.each([0, -1, Number.NaN, '5'])('refuse %j', async ratePerSecond => {
    await expect(new FilesConnector().listSplits({ path: folder, format: 'csv', ratePerSecond })).rejects.toThrow(
      'a number above 0 is wanted',
    )
  })
})
