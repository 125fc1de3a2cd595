/** Dead letters of a job over a map of them: which are found, which go, and what is refused. */
import { expect, it } from 'vitest'
import { NearstateError } from '../../../src/base/errors.ts'
import { type DeadLetter, JobLetters, type LetterMap } from '../../../src/client/job-letters.ts'

const letterOf = (stage: string, line: number): Omit<DeadLetter, 'key'> => ({
  stage,
  origin: '0 of 1',
  line,
  reason: 'refused',
  row: { n: line },
  at: 1,
})

function lettersOf(stages: readonly string[], names: readonly string[] = ['events', 'strict', 'lax']) {
  const entries = new Map(stages.map((stage, line) => [`0 of 1:${line}:${stage}`, letterOf(stage, line)]))
  const map = {
    async *scanEntries() {
      for (const [key, value] of entries) yield { key, value, version: 1, expiresAt: undefined }
    },
    delete: async (key: string) => entries.delete(key),
  }
  const letters = new JobLetters('spend', map as LetterMap, async () => names)
  return { entries, letters }
}

async function all<T>(found: AsyncGenerator<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of found) items.push(item)
  return items
}

it('lists letters with their keys, of one stage where wanted, and so many', async () => {
  const { letters } = lettersOf(['strict', 'lax', 'strict'])
  expect(await all(letters.list())).toHaveLength(3)
  expect(await all(letters.list({ stage: 'strict' }))).toEqual([
    { key: '0 of 1:0:strict', ...letterOf('strict', 0) },
    { key: '0 of 1:2:strict', ...letterOf('strict', 2) },
  ])
  expect(await all(letters.list({ stage: 'strict', limit: 1 }))).toHaveLength(1)
  expect(await all(letters.list({ limit: 0 }))).toEqual([])
  expect(await all(letters.list({ stage: 'events' }))).toEqual([])
})

it('removes those of a stage, or all, and says how many went', async () => {
  const { entries, letters } = lettersOf(['strict', 'lax', 'strict'])
  expect(await letters.clear({ stage: 'strict' })).toBe(2)
  expect([...entries.keys()]).toEqual(['0 of 1:1:lax'])
  expect(await letters.clear()).toBe(1)
  expect(await letters.clear()).toBe(0)
})

it('names the stages that there are when there is no such stage, but finds letters of a stage that an earlier version had', async () => {
  const { letters } = lettersOf(['older', 'strict'])
  expect(await all(letters.list({ stage: 'older' }))).toHaveLength(1)
  const refusal = await letters.clear({ stage: 'nope' }).catch((thrown: unknown) => thrown)
  expect(refusal).toBeInstanceOf(NearstateError)
  expect(refusal).toMatchObject({ code: 'NOT_FOUND', message: expect.stringContaining('its stages are events, strict, lax') as string })
  await expect(all(letters.list({ limit: -1 }))).rejects.toThrow('limit is -1')
  await expect(letters.clear({ limit: 1 } as never)).rejects.toThrow('Cannot use option "limit"')
})
