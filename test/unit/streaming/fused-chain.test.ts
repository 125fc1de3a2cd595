import { expect, test } from 'vitest'
import { defineJob, defineKey, type Job } from '../../../src/entry/stream.ts'
import { type InProcessResult, MemoryMaps, runInProcess } from '../../../src/shard/jobs/in-process-run.ts'
import { memoryConnectors, memorySource } from './fixture.ts'

interface Order {
  readonly id: number
  readonly at: number
  readonly amount: number
}

const OrderKey = defineKey('order', 'int64')
const numbers = Array.from({ length: 100 }, (_, id): Order => ({ id, at: id * 10, amount: id * 100 }))

const run = async (job: Job<unknown>, maps = new MemoryMaps(), orders: readonly unknown[] = numbers): Promise<InProcessResult> =>
  runInProcess({ job, maps, shards: 3, connectorOf: memoryConnectors({ memory: [{ records: orders }] }) })

const stage = (result: InProcessResult, name: string): readonly number[] => {
  const { rowsIn = -1, rowsOut = -1, deadLetters = -1 } = result.stages.get(name) ?? {}
  return [rowsIn, rowsOut, deadLetters]
}

const failsAt =
  (...ids: readonly number[]) =>
  (order: Order): Order => {
    if (ids.includes(order.id)) throw new Error(`no order ${order.id}`)
    return order
  }

test('a chain of stages counts what each of them takes and gives', async () => {
  const job = defineJob('chain', flow => {
    flow
      .source('orders', memorySource<Order>())
      .eventTime(order => order.at)
      .filter('even', ({ id }) => id % 2 === 0)
      .map('cents', order => ({ ...order, amount: order.amount * 100 }))
      .filter('some', ({ id }) => id % 10 === 0)
      .keyBy('by id', OrderKey, ({ id }) => id)
      .map('amount', ({ amount }, key) => ({ amount, key }))
      .filter('not 50', (_: unknown, key: number) => key !== 50)
      .sink('to amounts', flow.map('amounts', OrderKey))
  })
  const result = await run(job)
  expect(result.maps.entries('amounts').size).toBe(9)
  expect(result.maps.entries('amounts').get('20')).toEqual({ amount: 200_000, key: 20 })
  expect(stage(result, 'orders')).toEqual([100, 100, 0])
  expect(stage(result, 'even')).toEqual([100, 50, 0])
  expect(stage(result, 'cents')).toEqual([50, 50, 0])
  expect(stage(result, 'some')).toEqual([50, 10, 0])
  expect(stage(result, 'by id')).toEqual([10, 10, 0])
  expect(stage(result, 'amount')).toEqual([10, 10, 0])
  expect(stage(result, 'not 50')).toEqual([10, 9, 0])
})

test('a row that fails anywhere in a chain is given up alone, at the stage that failed', async () => {
  const job = defineJob('chain', { onError: 'deadLetter' }, flow => {
    flow
      .source('orders', memorySource<Order>())
      .eventTime(order => (order.id === 3 ? Number.NaN : order.at))
      .map('first', failsAt(0, 6))
      .filter('second', order => failsAt(7, 99)(order).id % 5 !== 0)
      .keyBy('by id', OrderKey, order => (order.id === 8 ? ('eight' as unknown as number) : failsAt(9)(order).id))
      .map('third', failsAt(11))
      .sink('to orders', flow.map('orders', OrderKey))
  })
  const result = await run(job)
  const failed = [0, 3, 6, 7, 8, 9, 11, 99]
  const kept = numbers.filter(({ id }) => id % 5 !== 0 && !failed.includes(id))
  expect([...result.maps.entries('orders').keys()].map(Number).sort((a, b) => a - b)).toEqual(kept.map(({ id }) => id))
  expect(stage(result, 'orders')).toEqual([100, 99, 1])
  expect(stage(result, 'first')).toEqual([99, 97, 2])
  expect(stage(result, 'second')).toEqual([97, 76, 2])
  expect(stage(result, 'by id')).toEqual([76, 74, 2])
  expect(stage(result, 'third')).toEqual([74, 73, 1])
  const letters = [...result.maps.entries('chain.dead-letters').values()] as { readonly stage: string }[]
  const stages = letters.map(letter => letter.stage).sort()
  expect(stages).toEqual(['by id', 'by id', 'first', 'first', 'orders', 'second', 'second', 'third'])
})

test('asynchronous code is refused wherever it is in a chain', async () => {
  const late = (order: Order): boolean => Promise.resolve(order.id > 0) as unknown as boolean
  const job = defineJob('chain', flow => {
    flow
      .source('orders', memorySource<Order>())
      .filter('some', ({ id }) => id > 10)
      .filter('late', late)
      .keyBy('by id', OrderKey, ({ id }) => id)
      .sink('to orders', flow.map('orders', OrderKey))
  })
  await expect(run(job)).rejects.toThrow(/Stage "late" failed.*returned a promise/)
})

test('a chain enriches from the map of its key', async () => {
  const maps = new MemoryMaps()
  const fill = defineJob('fill', flow => {
    const names = flow.source('names', memorySource<Order>()).keyBy('by id', OrderKey, ({ id }) => id)
    names.map('name', ({ id }) => `name ${id}`).sink('to names', flow.map('names', OrderKey))
  })
  await run(fill, maps, numbers.slice(0, 50))
  const job = defineJob('chain', flow => {
    flow
      .source('orders', memorySource<Order>())
      .keyBy('by id', OrderKey, ({ id }) => id)
      .enrich('name', flow.map('names', OrderKey), ({ id }, name) => ({ id, name }))
      .filter('named', ({ name }) => name !== undefined)
      .sink('to orders', flow.map('orders', OrderKey))
  })
  const result = await run(job, maps)
  expect(result.maps.entries('orders').size).toBe(50)
  expect(result.maps.entries('orders').get('49')).toEqual({ id: 49, name: 'name 49' })
})
