import { expect, it } from 'vitest'
import { newsOf } from '../../../src/node/job-news.ts'
import { newRun, type RunRecord } from '../../../src/streaming/master/record.ts'

const first: RunRecord = { ...newRun('exactly-once'), attempt: 1 }
const nothing = { toldFailure: undefined, savepoint: undefined }
const said = (before: RunRecord, now: RunRecord, context = {}): readonly string[] =>
  newsOf(before, now, { ...nothing, ...context }).map(({ level, message }) => `${level} ${message}`)

it('tells of attempts, and of what they begin with', () => {
  expect(said(newRun('exactly-once'), first)).toEqual(['info attempt 1 begins with nothing'])
  const second: RunRecord = { ...first, attempt: 2, restore: { attempt: 1, n: 7 }, status: 'restarting' }
  expect(said(first, second)).toEqual(['info attempt 2 begins where checkpoint 7 of attempt 1 was'])
  expect(said(first, second, { savepoint: 'a/v1' })).toEqual(['info attempt 2 begins where savepoint a/v1 was'])
})

it('tells of statuses that stay, and not of checkpoints', () => {
  const running: RunRecord = { ...first, status: 'running' }
  expect(said(first, running)).toEqual(['info attempt 1 runs'])
  expect(said(running, { ...running, checkpoint: 3, checkpoints: 3 })).toEqual([])
  expect(said(running, { ...running, status: 'suspended' })).toEqual(['info the job is suspended'])
  expect(said(running, { ...running, status: 'cancelled' })).toEqual(['info the job is cancelled'])
})

it('tells of a failure once, with stage and stack', () => {
  const running: RunRecord = { ...first, status: 'running' }
  const failure = { message: 'no', stage: 's', functionStack: 'at x' }
  const failed: RunRecord = { ...running, status: 'failed', failure }
  const context = { ...nothing }
  expect(newsOf(running, failed, context)[0]).toEqual({
    level: 'error',
    from: 'engine',
    message: 'attempt 1 failed: no',
    stage: 's',
    stack: 'at x',
  })
  expect(said(running, failed)).toEqual(['error attempt 1 failed: no', 'error the job has failed: no'])
  expect(said(running, failed, { toldFailure: 'no' })).toEqual(['error the job has failed: no'])
})
