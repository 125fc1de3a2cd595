import { describe, expect, it } from 'vitest'
import { AdminCalls } from '../../../src/client/admin-calls.ts'
import { type JobLogEntry, jobLog, type JobLogOptions } from '../../../src/client/job-logs.ts'
import type { AdminClient } from '../../../src/client/topology.ts'
import type { ReadJobLogRequest, ReadJobLogResponse } from '../../../src/wire/generated/nearstate/v1/admin.ts'

/** A node with these lines, each `[time, message]`; `gone`: before them. */
class FakeNode {
  id = 'first'
  lines: (readonly [number, string])[] = []
  gone = 0
  isDown = false

  read({ from, nodeId, limit }: ReadJobLogRequest): ReadJobLogResponse {
    if (this.isDown) return { unreachable: 'no link', nodeId: '', next: 0n, gone: 0n, lines: [] }
    const begin = nodeId === this.id ? Number(from) : 1
    const all = this.lines.slice(Math.max(0, begin - 1 - this.gone))
    const lines = (limit === 0 ? all : all.slice(-limit)).map(([time, message]) =>
      JSON.stringify({ time, level: 'info', from: 'log', message }),
    )
    const next = BigInt(this.gone + this.lines.length + 1)
    return { unreachable: '', nodeId: this.id, next, gone: BigInt(Math.max(0, this.gone + 1 - begin)), lines }
  }
}

function cluster(...names: readonly string[]) {
  const nodes = new Map(names.map(name => [name, new FakeNode()]))
  const around = { status: 'running', rounds: 0, onRound: (_round: number): void => undefined }
  const admin = {
    getJob: async () => ({ json: JSON.stringify({ status: around.status }) }),
    describe: async () => {
      around.onRound(++around.rounds)
      return { members: names.map(name => ({ name, status: 'alive' })) }
    },
    readJobLog: async (request: ReadJobLogRequest) => nodes.get(request.node)?.read(request),
  } as unknown as AdminClient
  const calls = new AdminCalls(() => admin, 1000)
  const read = async (options?: JobLogOptions): Promise<readonly string[]> => {
    const entries: JobLogEntry[] = []
    for await (const entry of jobLog(calls, 'job', options)) entries.push(entry)
    return entries.map(({ time, node, message, from }) => (from === 'reader' ? `reader: ${message}` : `${time} ${node} ${message}`))
  }
  const node = (name: string): FakeNode => nodes.get(name) ?? new FakeNode()
  return { node, around, read }
}

describe('the log of a job', () => {
  it('is that of all nodes, by time; with a limit the latest lines of all', async () => {
    const { node, read } = cluster('n1', 'n2')
    node('n1').lines = [
      [1, 'a'],
      [4, 'd'],
      [5, 'e'],
    ]
    node('n2').lines = [
      [2, 'b'],
      [3, 'c'],
      [6, 'f'],
    ]
    expect(await read()).toEqual(['1 n1 a', '2 n2 b', '3 n2 c', '4 n1 d', '5 n1 e', '6 n2 f'])
    expect(await read({ limit: 2 })).toEqual(['5 n1 e', '6 n2 f'])
    expect(await read({ limit: 0 })).toEqual([])
  })

  it('says what is gone, unless nobody asked for it', async () => {
    const { node, read } = cluster('n1')
    Object.assign(node('n1'), {
      lines: [
        [1, 'a'],
        [2, 'b'],
      ],
      gone: 12,
    })
    expect(await read()).toEqual(['reader: 12 older lines of node n1 are gone: it keeps so many bytes of each job', '1 n1 a', '2 n1 b'])
    expect(await read({ limit: 2 })).toEqual(['1 n1 a', '2 n1 b'])
  })

  it('goes on with each line once, also of a node that was started again, until the job has ended', async () => {
    const { node, around, read } = cluster('n1', 'n2')
    node('n1').lines = [[1, 'a']]
    around.onRound = round => {
      if (round === 2) {
        node('n1').lines.push([3, 'c'])
        node('n2').lines.push([2, 'b'])
        around.status = 'completed'
      }
      if (round === 3) Object.assign(node('n2'), { id: 'second', lines: [[4, 'anew']] })
    }
    expect(await read({ follow: true })).toEqual(['1 n1 a', '2 n2 b', '3 n1 c', '4 n2 anew'])
  })

  it('says once that a node cannot be asked, and again when it was back', async () => {
    const { node, around, read } = cluster('n1', 'n2')
    node('n1').lines = [[1, 'a']]
    around.onRound = round => {
      node('n2').isDown = round !== 3
      if (round === 3) node('n2').lines.push([2, 'b'])
      if (round === 4) around.status = 'cancelled'
    }
    const down = 'reader: node n2 cannot be asked, what it has logged is missing: no link'
    expect(await read({ follow: true })).toEqual(['1 n1 a', down, '2 n2 b', down])
  })

  it('ends when its signal aborts, and refuses options and limits that make no sense', async () => {
    const { around, read } = cluster('n1')
    const controller = new AbortController()
    around.onRound = () => controller.abort()
    await expect(read({ follow: true, signal: controller.signal })).rejects.toMatchObject({ name: 'AbortError' })
    await expect(read({ limit: 1.5 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(read({ tail: 3 } as JobLogOptions)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})
