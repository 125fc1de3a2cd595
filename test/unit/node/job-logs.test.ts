import { describe, expect, it } from 'vitest'
import type { NodeId } from '../../../src/base/ids.ts'
import { JobLogs, type JobLogParts, readJobLog } from '../../../src/node/job-logs.ts'
import { infoLine } from '../../../src/node/job-news.ts'
import type { ReadJobLogRequest } from '../../../src/wire/generated/nearstate/v1/admin.ts'

let nowMs = 1000
const logsOf = (bytesMax: number, jobsMax = 100): JobLogs => new JobLogs(() => nowMs, { bytesMax, jobsMax })
const messages = (lines: readonly string[]): readonly string[] => lines.map(line => (JSON.parse(line) as { message: string }).message)
const add = (logs: JobLogs, job: string, ...texts: readonly string[]): void => {
  for (const text of texts) logs.add(job, infoLine(text))
}

describe('the lines of a job on a node', () => {
  it('are kept with time and shard, and read on from where a reader was', () => {
    const logs = logsOf(10_000)
    nowMs = 5000
    logs.add('a', { level: 'warn', from: 'rows', stage: 's', message: 'x', rows: 3, stack: 'at y' }, 1)
    const { lines, next } = logs.read('a', 1)
    const line = { time: 5000, shard: 1, level: 'warn', from: 'rows', stage: 's', message: 'x', stack: 'at y', rows: 3 }
    expect(lines.map(text => JSON.parse(text) as unknown)).toEqual([line])
    expect(logs.read('a', next)).toEqual({ lines: [], next, gone: 0 })
    add(logs, 'a', 'y', 'z')
    expect(messages(logs.read('a', next).lines)).toEqual(['y', 'z'])
    expect(messages(logs.read('a', 1, 2).lines)).toEqual(['y', 'z'])
    expect(logs.read('b', 1)).toEqual({ lines: [], next: 1, gone: 0 })
  })

  it('take no more than their bytes, however many come: the oldest go, and their number is told', () => {
    const logs = logsOf(10_000)
    for (let n = 1; n <= 5000; n += 1) add(logs, 'a', `line ${n}`)
    const { lines, next, gone } = logs.read('a', 1)
    expect(lines.join('').length).toBeLessThanOrEqual(10_000)
    expect(lines.length).toBeGreaterThan(100)
    expect(next).toBe(5001)
    expect(gone).toBe(5000 - lines.length)
    expect(messages(lines)[0]).toBe(`line ${gone + 1}`)
    expect(messages(lines).at(-1)).toBe('line 5000')
    expect(logs.read('a', gone + 1).gone).toBe(0)
    expect(logs.read('a', gone - 9).gone).toBe(10)
  })

  it('are cut where one alone is too long', () => {
    const logs = logsOf(100_000)
    add(logs, 'a', 'x'.repeat(50_000))
    expect(logs.read('a', 1).lines[0]?.length).toBeLessThan(5000)
  })

  it('go as a whole when too many jobs have some: those of the job that was silent for the longest', () => {
    const logs = logsOf(10_000, 2)
    add(logs, 'a', 'of a', 'of a')
    add(logs, 'b', 'of b')
    add(logs, 'a', 'again')
    add(logs, 'c', 'of c')
    expect(logs.read('b', 1).lines).toEqual([])
    expect(logs.read('a', 1).lines).toHaveLength(3)
    add(logs, 'b', 'back')
    // A reader of the lines that have gone reads on, and is told of nothing that never was.
    expect(messages(logs.read('b', 2).lines)).toEqual(['back'])
    expect(logs.read('b', 1).gone).toBe(0)
    expect(logs.read('a', 1).lines).toEqual([])
  })
})

describe('a request for the lines of a node', () => {
  const request: ReadJobLogRequest = { job: 'a', node: 'n1', from: 3n, nodeId: 'me', limit: 0, forwarded: undefined }
  const parts = (answer: () => Promise<unknown>): JobLogParts => {
    const logs = logsOf(10_000)
    add(logs, 'a', 'one', 'two', 'three')
    return {
      self: 'me' as NodeId,
      name: 'n1',
      feed: { reachableMembers: [{ name: 'n2' }] },
      links: { admin: () => ({ readJobLog: answer }) },
      jobLogs: logs,
    } as unknown as JobLogParts
  }
  const never = (): Promise<unknown> => Promise.reject(new Error('not to be asked'))

  it('is answered here, from the beginning to whoever was read from an earlier process', async () => {
    expect(await readJobLog(parts(never), request)).toMatchObject({
      unreachable: '',
      nodeId: 'me',
      next: 4n,
      lines: [expect.stringContaining('three')],
    })
    expect((await readJobLog(parts(never), { ...request, nodeId: 'earlier' })).lines).toHaveLength(3)
    expect((await readJobLog(parts(never), { ...request, nodeId: '', limit: 2 })).lines).toHaveLength(2)
  })

  it('is passed on once; that a node cannot be asked is an answer', async () => {
    expect(
      await readJobLog(
        parts(async () => 'of n2'),
        { ...request, node: 'n2' },
      ),
    ).toBe('of n2')
    expect((await readJobLog(parts(never), { ...request, node: 'n2' })).unreachable).toBe('not to be asked')
    expect(
      (
        await readJobLog(
          parts(async () => 'of n2'),
          { ...request, node: 'n3' },
        )
      ).unreachable,
    ).toContain('out of reach')
    expect(
      (
        await readJobLog(
          parts(async () => 'of n2'),
          { ...request, node: 'n2', forwarded: true },
        )
      ).unreachable,
    ).toContain('out of reach')
  })
})
