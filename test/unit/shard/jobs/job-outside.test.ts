import { expect, it } from 'vitest'
import { jobOutside } from '../../../../src/shard/jobs/job-outside.ts'

const outside = jobOutside({
  job: 'j',
  wake: () => undefined,
  slices: {
    backlog: 0,
    schedule(task) {
      try {
        task.run()
      } catch (thrown) {
        task.failed(thrown)
        return
      }
      task.finish()
    },
  },
  find: () => Promise.resolve(undefined),
  log: () => undefined,
  jobLog: () => undefined,
  sinkConnectorOf: () => {
    throw new Error('no sinks')
  },
})

const ran = (act: () => Promise<unknown>): Promise<unknown> =>
  new Promise((resolve, reject) => outside.run('s', act, (error, value) => (error === undefined ? resolve(value) : reject(error))))

it('tells code that throws nothing from code that has done its work', async () => {
  const nothing: unknown = undefined
  expect(await ran(() => Promise.resolve(7))).toBe(7)
  await expect(ran(() => Promise.reject(nothing))).rejects.toThrow('threw undefined')
  await expect(
    ran(() => {
      throw nothing
    }),
  ).rejects.toThrow('threw undefined')
})
