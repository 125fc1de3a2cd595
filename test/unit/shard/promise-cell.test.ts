import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect, it } from 'vitest'
import { createPromiseCell, PromiseCellReader, PromiseCellWriter, promiseSlotCount } from '../../../src/shard/promise-cell.ts'

it('holds no promise before one was published, and none after it was taken back', () => {
  const cell = createPromiseCell()
  const writer = new PromiseCellWriter(cell)
  const reader = new PromiseCellReader(cell)
  expect(reader.read(0)).toBeUndefined()
  writer.publish(0, { version: 7, untilMs: 1234.5 })
  expect(reader.read(0)).toEqual({ version: 7, untilMs: 1234.5 })
  writer.publish(0, undefined)
  expect(reader.read(0)).toBeUndefined()
})

it('keeps slots apart and answers the newest promise of each', () => {
  const cell = createPromiseCell()
  const writer = new PromiseCellWriter(cell)
  const reader = new PromiseCellReader(cell)
  writer.publish(1, { version: 1, untilMs: 1 })
  writer.publish(promiseSlotCount - 1, { version: 2 ** 40, untilMs: 2 })
  expect(reader.read(1)).toEqual({ version: 1, untilMs: 1 })
  writer.publish(1, { version: 1, untilMs: 3 })
  expect(reader.read(1)).toEqual({ version: 1, untilMs: 3 })
  expect(reader.read(promiseSlotCount - 1)).toEqual({ version: 2 ** 40, untilMs: 2 })
  expect(reader.read(2)).toBeUndefined()
})

it('keeps the promise of the version before, for a shard that is about to learn the newer table', () => {
  const cell = createPromiseCell()
  const writer = new PromiseCellWriter(cell)
  const reader = new PromiseCellReader(cell)
  writer.publish(0, { version: 7, untilMs: 100 })
  writer.publish(0, { version: 8, untilMs: 120 })
  writer.publish(0, { version: 8, untilMs: 140 })
  expect([reader.read(0), reader.read(0, 7), reader.read(0, 8), reader.read(0, 6)].map(promise => promise?.untilMs)).toEqual([
    140, 100, 140, 140,
  ])
  writer.publish(0, undefined)
  expect(reader.read(0, 7)).toBeUndefined()
})

it('answers none while a write stands half-way', () => {
  const cell = createPromiseCell()
  const writer = new PromiseCellWriter(cell)
  writer.publish(3, { version: 1, untilMs: 1 })
  new Int32Array(cell)[3 * 16] = 1
  expect(new PromiseCellReader(cell).read(3)).toBeUndefined()
})

it('refuses a slot that it does not have', () => {
  const reader = new PromiseCellReader(createPromiseCell())
  expect(() => reader.read(promiseSlotCount)).toThrow('a slot of the promise cell')
})

it('never shows half of a promise while another thread writes', async () => {
  const cell = createPromiseCell()
  const source = new URL('../../../src/shard/promise-cell.ts', import.meta.url).href
  const code = `
    const { workerData } = require('node:worker_threads')
    import(${JSON.stringify(source)}).then(({ PromiseCellWriter }) => {
      const writer = new PromiseCellWriter(workerData)
      for (let i = 1; i <= 200000; i += 1) writer.publish(5, { version: i, untilMs: i * 1.5 })
    })`
  const worker = new Worker(code, { eval: true, workerData: cell })
  const reader = new PromiseCellReader(cell)
  const exit = once(worker, 'exit')
  let last: number | undefined
  while (last !== 200_000) {
    for (let i = 0; i < 1000; i += 1) {
      const promise = reader.read(5)
      last = promise?.version ?? last
      if (promise !== undefined && promise.untilMs !== promise.version * 1.5) throw new Error(`torn: ${JSON.stringify(promise)}`)
    }
    await new Promise(resolve => setImmediate(resolve))
  }
  await exit
  expect(reader.read(5)).toEqual({ version: 200_000, untilMs: 300_000 })
})
