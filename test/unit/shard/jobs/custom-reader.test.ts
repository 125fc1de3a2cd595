import { expect, it, vi } from 'vitest'
import { CustomReader } from '../../../../src/shard/jobs/custom-reader.ts'
import type { Outside } from '../../../../src/streaming/ports.ts'
import type { SourceBatch, SplitPosition } from '../../../../src/streaming/source.ts'

const outside: Outside = {
  wake: () => undefined,
  log: () => undefined,
  lookup: () => undefined,
  fetch: () => () => undefined,
  run: (_stage, act, done) =>
    void act().then(
      value => done(undefined, value),
      (thrown: unknown) => done(thrown, undefined),
    ),
  sinkConnector: () => {
    throw new Error('no sinks')
  },
}

type Read = (position: SplitPosition | undefined) => Promise<unknown>

const open = (read: Read, position?: SplitPosition) =>
  new CustomReader({
    custom: { read, pollEveryMs: 10 },
    stage: 's',
    split: { id: 'a', descriptor: {} },
    position,
    outside,
    wake: () => undefined,
  })

async function next(reader: CustomReader): Promise<SourceBatch | 'end'> {
  return vi.waitFor(() => {
    const taken = reader.take()
    if (taken === undefined) throw new Error('nothing yet')
    return taken
  })
}

/** 7 rows, three at a time; every other time there is nothing yet. */
function feed(): Read {
  let asked = 0
  return async position => {
    const from = Number(position ?? 0)
    asked += 1
    if (asked % 2 === 0) return { rows: [], next: from }
    const rows = [0, 1, 2, 3, 4, 5, 6].slice(from, from + 3)
    return { rows, next: from + 3 >= 7 ? undefined : from + 3 }
  }
}

it('reads to the end, and from any position that it gave, with the same lines', async () => {
  const whole: SourceBatch[] = []
  const reader = open(feed())
  for (let taken = await next(reader); taken !== 'end'; taken = await next(reader)) whole.push(taken)
  expect(whole.map(({ records }) => records)).toEqual([[0, 1, 2], [3, 4, 5], [6]])
  expect(whole.map(({ lines }) => lines)).toEqual([[1, 2, 3], [4, 5, 6], [7]])
  const again = open(feed(), whole[1]?.position)
  expect(await next(again)).toEqual(whole[1])
  again.close()
})

it('fails with what read throws, or when it gives no rows', async () => {
  await expect(next(open(() => Promise.reject(new Error('gone'))))).rejects.toThrow('Cannot read split "a": gone')
  await expect(next(open(() => Promise.resolve({ row: 1 })))).rejects.toThrow(/rows be a list/)
})
