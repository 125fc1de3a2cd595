import { describe, expect, it } from 'vitest'
import { NearstateError } from '../../../src/base/errors.ts'
import { AdminCalls } from '../../../src/client/admin-calls.ts'
import { StageReader } from '../../../src/client/stage-reader.ts'
import type { AdminClient } from '../../../src/client/topology.ts'
import type { ReadJobStateRequest, ReadJobStateResponse } from '../../../src/wire/generated/nearstate/v1/admin.ts'
import type { StateDescription } from '../../../src/wire/state-values.ts'

const running: StateDescription = { kind: 'reduce', attempt: 1, hasCheckpoints: true, isActive: true }
const suspended: StateDescription = { ...running, isActive: false, settled: { attempt: 1, n: 7, lastAttempt: 1 } }
const unknown: ReadJobStateResponse = {
  known: false,
  attempt: 0,
  checkpoint: { attempt: 0, n: 0 },
  value: undefined,
  page: Buffer.alloc(0),
}
const answerAt = (attempt: number, n: number): ReadJobStateResponse => ({ ...unknown, known: true, attempt, checkpoint: { attempt, n } })

/** A cluster that gives these descriptions and answers in turn, the last of them for ever. */
function cluster(descriptions: readonly StateDescription[], answers: readonly ReadJobStateResponse[]) {
  const asked: ReadJobStateRequest[] = []
  let described = 0
  const admin = {
    describeJobState: async () => ({ json: JSON.stringify(descriptions[Math.min(described++, descriptions.length - 1)]) }),
    readJobState: async (request: ReadJobStateRequest) => {
      asked.push(request)
      return answers[Math.min(asked.length, answers.length) - 1]
    },
  } as unknown as AdminClient
  const calls = new AdminCalls(() => admin, 1000)
  const reader = new StageReader({ calls, job: 'job', stage: 'sums', partitionCount: () => 4, timeoutMs: 1000 })
  return { reader, asked, described: () => described }
}

describe('a reader of a stage', () => {
  it('asks what the stage is once, for all of its reads', async () => {
    const { reader, described } = cluster([running], [answerAt(1, 3)])
    await Promise.all([reader.read({ partition: 1 }), reader.read({ partition: 2 })])
    expect(described()).toBe(1)
  })

  it('asks the record for the checkpoint where no attempt stands open, and reads with that', async () => {
    const { reader, asked } = cluster([running, suspended], [unknown, answerAt(1, 7)])
    expect((await reader.read({ partition: 1 })).checkpoint).toEqual({ attempt: 1, n: 7 })
    expect(asked.map(({ settled, lastAttempt }) => [settled?.n, lastAttempt])).toEqual([
      [undefined, 0],
      [7, 1],
    ])
  })

  it('asks again what the stage is when a newer attempt answers: the job may be another one', async () => {
    const { reader } = cluster([running, { ...running, kind: 'process', attempt: 2 }], [answerAt(2, 1)])
    expect((await reader.read({ partition: 1 })).description.kind).toBe('process')
  })

  it('waits for a shard that has yet to hear of the checkpoint wanted', async () => {
    const { reader, asked } = cluster([running], [answerAt(1, 2), answerAt(1, 3)])
    expect((await reader.read({ partition: 1, upTo: { attempt: 1, n: 3 } })).checkpoint?.n).toBe(3)
    expect(asked).toHaveLength(2)
  })

  it('says what cannot be read, and why', async () => {
    const light = cluster([{ ...running, hasCheckpoints: false }], [answerAt(1, 0)]).reader
    await expect(light.read({ partition: 1 })).rejects.toThrow('read it live')
    await expect(light.read({ partition: 1, live: true })).resolves.toBeDefined()
    await expect(cluster([suspended], []).reader.read({ partition: 1, live: true })).rejects.toMatchObject({ code: 'CONFLICT' })
    const nobody = cluster([running], [unknown]).reader
    await expect(nobody.read({ partition: 1 }, { timeout: '60ms' })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  it('asks anew after a failure', async () => {
    let fails = true
    const admin = {
      describeJobState: async () => {
        if (fails) throw new NearstateError('NOT_FOUND', 'There is no job "job"')
        return { json: JSON.stringify(running) }
      },
      readJobState: async () => answerAt(1, 1),
    } as unknown as AdminClient
    const calls = new AdminCalls(() => admin, 1000)
    const reader = new StageReader({ calls, job: 'job', stage: 'sums', partitionCount: () => 4, timeoutMs: 1000 })
    await expect(reader.read({ partition: 1 })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    fails = false
    await expect(reader.read({ partition: 1 })).resolves.toBeDefined()
  })
})
