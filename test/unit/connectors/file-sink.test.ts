import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { FileSinkConnector } from '../../../src/connectors/files/file-sink.ts'
import type { SinkWriter } from '../../../src/streaming/sink.ts'

const sink = new FileSinkConnector()
const task = { job: 'j', jobId: 'id', stage: 'out/of it', attempt: 1, task: 's~1' }
let path = ''
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'file-sink-'))
})
afterEach(() => rm(path, { recursive: true }))

const prepared = (
  writer: (listener: { onReady(): void; onPrepared(n: number, handle: string | undefined): void }) => SinkWriter,
  n: number,
  rows: readonly unknown[],
) =>
  new Promise<string | undefined>(resolve => {
    const open = writer({ onReady: () => undefined, onPrepared: (_n, handle) => resolve(handle) })
    open.write(rows)
    open.prepare(n)
    open.close()
  })

const called = (act: (done: (error?: Error) => void) => void) => new Promise<Error | undefined>(resolve => act(resolve))
const visible = async () => (await readdir(path)).filter(name => name.endsWith('.jsonl'))

it('shows a file when its handle is committed, as often as it is asked', async () => {
  const handle = await prepared(listener => sink.open({ path }, task, listener), 3, [{ a: 1 }, { a: 2 }])
  expect(await visible()).toEqual([])
  for (let i = 0; i < 2; i += 1) expect(await called(done => sink.commit({ path }, handle ?? '', done))).toBeUndefined()
  const [name] = await visible()
  expect(await readFile(join(path, name ?? ''), 'utf8')).toBe('{"a":1}\n{"a":2}\n')
})

it('says so when what was prepared is gone', async () => {
  const handle = await prepared(listener => sink.open({ path }, task, listener), 1, [1])
  await rm(join(path, '.pending'), { recursive: true })
  expect((await called(done => sink.commit({ path }, handle ?? '', done)))?.message).toMatch(/Cannot end output/)
})

it('ends what older attempts left, and nothing else', async () => {
  await prepared(listener => sink.open({ path }, task, listener), 1, [1])
  const kept = await prepared(listener => sink.open({ path }, { ...task, attempt: 2 }, listener), 1, [2])
  expect(await called(done => sink.endOthers({ path }, { ...task, attempt: 2 }, done))).toBeUndefined()
  expect(await readdir(join(path, '.pending'))).toHaveLength(1)
  expect(await called(done => sink.commit({ path }, kept ?? '', done))).toBeUndefined()
})

it('keeps rows that come behind a barrier out of its file, also while what came before it is still being written', async () => {
  const handles: string[] = []
  await new Promise<void>(resolve => {
    const listener = {
      onReady: () => undefined,
      onPrepared(_n: number, handle: string | undefined): void {
        handles.push(handle ?? '')
        if (handles.length === 2) resolve()
      },
    }
    const writer = sink.open({ path }, task, listener)
    writer.write([1])
    writer.write([2])
    writer.prepare(1)
    writer.write([3])
    writer.prepare(2)
    writer.close()
  })
  const contents: string[] = []
  for (const handle of handles) {
    await called(done => sink.commit({ path }, handle, done))
    const { to } = JSON.parse(handle) as { readonly to: string }
    contents.push(await readFile(to, 'utf8'))
  }
  expect(contents).toEqual(['1\n2\n', '3\n'])
})
