import { expect, test } from 'vitest'
import { Answers, type AnswerTaker } from '../../../src/client/answers.ts'
import type { ResultBatch } from '../../../src/wire/generated/nearstate/v1/data.ts'
import { emptyResults, ResultWriter } from '../../../src/wire/results.ts'

const batchOf = (firstId: number, count: number): ResultBatch => {
  const writer = new ResultWriter()
  for (let i = 0; i < count; i += 1) writer.ok(firstId + i)
  return writer.take(1n)[0] as ResultBatch
}
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

const collect = (portion: number) => {
  const events: (number | string)[] = []
  const taker: AnswerTaker = {
    onChunk: () => events.push('chunk'),
    onAnswer: (reader, index) => events.push(reader.idAt(index)),
    portion: () => portion,
    onPortion: () => events.push('|'),
    onBroken: () => events.push('broken'),
  }
  return { events, answers: new Answers(taker) }
}

test('few answers are handed out at once', () => {
  const { events, answers } = collect(4)
  answers.push(batchOf(0, 3))
  answers.push(batchOf(3, 1))
  expect(events).toEqual([0, 1, 2, '|', 3, '|'])
})

test('many answers come in portions, a turn apart, in order over batches and chunks', async () => {
  const { events, answers } = collect(2)
  answers.push(batchOf(0, 3))
  answers.push({ ...emptyResults(), chunk: { id: 9, data: Buffer.from('x'), totalBytes: 1n } })
  answers.push(batchOf(3, 2))
  expect(events).toEqual([0, 1, '|'])
  await turn()
  expect(events).toEqual([0, 1, '|', 2, 'chunk', 3, '|'])
  await turn()
  expect(events.slice(7)).toEqual([4, '|'])
  await turn()
  expect(events).toHaveLength(9)
})

test('what came before the end is handed out before it', async () => {
  const { events, answers } = collect(1)
  answers.push(batchOf(0, 3))
  answers.drain()
  expect(events.filter(event => event !== '|')).toEqual([0, 1, 2])
  await turn()
  expect(events.filter(event => event !== '|')).toEqual([0, 1, 2])
})

test('broken answers are reported', () => {
  const { events, answers } = collect(1)
  answers.push({ ...emptyResults(), count: 2 })
  expect(events).toEqual(['broken'])
})
