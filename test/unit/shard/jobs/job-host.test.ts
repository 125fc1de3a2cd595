import { describe, expect, it, vi } from 'vitest'
import { NearstateError } from '../../../../src/base/errors.ts'
import type { ShardId } from '../../../../src/base/ids.ts'
import { count, defineJob, defineKey, type Job } from '../../../../src/entry/stream.ts'
import { MemoryMaps } from '../../../../src/shard/jobs/in-process-run.ts'
import { JobHost, type OpenJob } from '../../../../src/shard/jobs/job-host.ts'
import type { Bundle } from '../../../../src/shard/protocol.ts'
import type { SliceTask } from '../../../../src/shard/user-code/slice-task.ts'
import type { Assignment } from '../../../../src/streaming/assignment.ts'
import { ReplaySignal } from '../../../../src/streaming/operators/unit.ts'
import { memoryConnectors, memorySource } from '../../streaming/fixture.ts'

const Key = defineKey('k', 'string')
const bundle: Bundle = { hash: 'h', code: new Uint8Array(), sourceMap: new Uint8Array() }

const counting = defineJob('counting', { onError: 'skip' }, flow => {
  flow
    .source('words', memorySource<string>())
    .map('words that loop', word => {
      if (word !== 'loop') return word
      looped += 1
      // Nothing behind it runs, as when it is cut off.
      throw new ReplaySignal()
    })
    .keyBy('by word', Key, word => word)
    .aggregate('counts', { n: count() })
    .sink('out', flow.map('out', Key))
})
let looped = 0
// It is not the first of its chain, which is `words`.
const lastStage = 'counting/words that loop'

/** Two shards of one job in this thread; tasks run when `settle` is called, frames arrive at once. */
class Pair {
  readonly maps = new MemoryMaps(4)
  readonly tasks: SliceTask[] = []
  readonly logged: string[] = []
  readonly jobLog: string[] = []
  /** Labels of the stops that count. */
  readonly stops: string[] = []
  readonly hosts: ReadonlyMap<ShardId, JobHost>
  readonly assignment: Assignment
  #nowMs = 0
  inSlice = false
  unansweredMs = 0
  /** Treats a task as cut off when this says so. */
  cutOff: (task: SliceTask) => boolean = () => false

  constructor(words: readonly string[], exported: unknown = counting) {
    const shards = ['s0', 's1'] as ShardId[]
    const splits = shards.map((_, index) => [{ id: `memory-${index}`, descriptor: { index } }])
    this.assignment = { tableVersion: 1, shards, owners: [0, 1, 0, 1], splits: { words: splits } }
    this.hosts = new Map(
      shards.map(self => {
        const host = new JobHost({
          self,
          hold: () => ({
            maps: { open: (name, _space, codec) => Promise.resolve(this.maps.open(name, codec)) },
            createStateStore: () => {
              throw new Error('a job without checkpoints has no state store')
            },
            importSavepoint: () => Promise.reject(new Error('no savepoints')),
          }),
          dropState: () => Promise.resolve([]),
          storeOf: () => {
            throw new Error('a job without checkpoints has no state')
          },
          delay: () => Promise.resolve(),
          unansweredMs: () => this.unansweredMs,
          sinkConnectorOf: () => {
            throw new Error('no sinks')
          },
          find: () => Promise.resolve(undefined),
          slices: { schedule: task => void this.tasks.push(task), backlog: 0 },
          userCode: {
            evaluateModule: () => Promise.resolve({ default: exported }),
            describeFailure: thrown => ({
              message: thrown instanceof Error ? thrown.message : String(thrown),
              stack: 'stack of the source',
            }),
            clearQuarantine: () => undefined,
          },
          connectorOf: memoryConnectors({ memory: [{ records: words }, { records: words }] }, 3),
          sendExchange: (to, bytes) => {
            this.hosts.get(to)?.onExchange(self, bytes)
            return true
          },
          clock: { nowMs: () => (this.#nowMs += 0.1), wallTimeMs: () => 1_700_000_000_000 },
          log: (level, message) => void this.logged.push(`${level}: ${message}`),
          jobLog: (_job, { stage, message, stack }) =>
            void this.jobLog.push(`[${stage ?? ''}] ${message}${stack === undefined ? '' : `, ${stack}`}`),
        })
        return [self, host]
      }),
    )
  }

  host(index: number): JobHost {
    const host = this.hosts.get(this.assignment.shards[index] as ShardId)
    if (host === undefined) throw new Error('no such host')
    return host
  }

  /** Runs what is scheduled, until nothing is for a while: readers of the fixture have every third time nothing to say. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 5; quiet += 1) {
      await Promise.resolve()
      for (let task = this.tasks.shift(); task !== undefined; task = this.tasks.shift()) {
        quiet = 0
        this.#runOne(task)
      }
      for (const host of this.hosts.values()) for (const peer of this.assignment.shards) host.onPeerDrain(peer)
    }
  }

  #runOne(task: SliceTask): void {
    try {
      this.inSlice = true
      task.run()
    } catch (thrown) {
      task.failed(thrown)
      return
    } finally {
      this.inSlice = false
    }
    if (!this.cutOff(task)) return task.finish()
    if (task.stopCounts !== false) this.stops.push(task.label)
    const quarantined = this.stops.filter(label => label === task.label).length === 3
    task.stopped(`${task.label} ran for more than 250 ms`, quarantined)
  }

  request(attempt: number): OpenJob {
    const restore = { attempt: 0, n: 0 }
    return { job: 'counting', attempt, bundle, argsJson: '', guarantee: 'none', restore, layout: this.assignment }
  }

  async started(attempt = 1): Promise<void> {
    const answers = [0, 1].map(index => this.host(index).open(this.request(attempt)))
    await this.settle()
    const [a, b] = await Promise.all(answers)
    expect(a?.graphHash).toBe(b?.graphHash)
    await Promise.all([0, 1].map(index => this.host(index).start({ job: 'counting', attempt, assignment: this.assignment })))
    for (const index of [0, 1]) this.host(index).run('counting', attempt)
  }
}

describe('the jobs of a shard', () => {
  it('describe a job file, run an attempt over two shards to its end, and forget it when it is stopped', async () => {
    const pair = new Pair(['a', 'b', 'a', 'c', 'a', 'd', 'e', 'b'])
    const described = pair.host(0).describe('', bundle, '')
    await pair.settle()
    expect((await described).name).toBe('counting')
    await pair.started()
    await pair.settle()
    expect(pair.host(0).progress('counting', 1).status).toBe('completed')
    expect(pair.host(1).progress('counting', 1).status).toBe('completed')
    expect(Object.fromEntries([...pair.maps.entries('out')].map(([k, v]) => [k, (v as { n: number }).n]).sort())).toEqual({
      a: 6,
      b: 4,
      c: 2,
      d: 2,
      e: 2,
    })
    pair.host(0).stop('counting', 1)
    pair.host(0).stop('counting', 1)
    expect(() => pair.host(0).progress('counting', 1)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }))
  })

  it('end an older attempt with the job, when they have not heard of its end, and never a newer one', async () => {
    const pair = new Pair(['a'])
    await pair.started(2)
    await pair.host(0).drop('counting', 1, [])
    expect(pair.host(0).progress('counting', 2).status).toBe('running')
    await pair.host(0).drop('counting', 3, [])
    expect(() => pair.host(0).progress('counting', 2)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }))
  })

  it('build a job under the name that it was submitted with, so that two runs of one file share none of its own maps', async () => {
    const pair = new Pair(
      [],
      defineJob('file', { onError: 'deadLetter' }, flow => void flow.source('words', memorySource<string>())),
    )
    for (const [given, name] of [
      ['', 'file'],
      ['other', 'other'],
    ] as const) {
      const described = pair.host(0).describe(given, bundle, '')
      await pair.settle()
      const { graphJson, ...answer } = await described
      expect(answer.name).toBe(name)
      expect(graphJson).toContain(`"${name}.dead-letters"`)
    }
  })

  it('answer the same start alike, refuse an older attempt, and end an older one for a newer', async () => {
    const pair = new Pair(['a'])
    await pair.started(2)
    const host = pair.host(0)
    expect(host.open(pair.request(2))).toBe(host.open(pair.request(2)))
    await expect(host.open(pair.request(1))).rejects.toMatchObject({ code: 'CONFLICT' })
    const newer = host.open(pair.request(3))
    await pair.settle()
    await newer
    await host.start({ job: 'counting', attempt: 3, assignment: pair.assignment })
    expect(() => pair.host(0).progress('counting', 2)).toThrow(NearstateError)
    expect(pair.host(0).progress('counting', 3).status).toBe('ready')
  })

  it('write nothing more while backups are slow to answer', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const pair = new Pair(['a', 'b'])
      pair.unansweredMs = 101
      await pair.started()
      await pair.settle()
      expect(pair.maps.entries('out').size).toBe(0)
      pair.unansweredMs = 0
      await vi.advanceTimersByTimeAsync(5)
      await pair.settle()
      await vi.advanceTimersByTimeAsync(5)
      await pair.settle()
      expect(pair.host(0).progress('counting', 1).status).toBe('completed')
      expect(pair.maps.entries('out').size).toBe(2)
    } finally {
      vi.useRealTimers()
    }
  })

  it('fail when a shard that takes part is gone, and not when another is', async () => {
    const pair = new Pair(['a'])
    await pair.started()
    pair.host(0).onPeerDown('stranger' as ShardId)
    expect(pair.host(0).progress('counting', 1).status).toBe('running')
    pair.host(0).onPeerDown('s1' as ShardId)
    expect(pair.host(0).progress('counting', 1)).toMatchObject({
      status: 'failed',
      failure: { message: expect.stringContaining('shard s1 cannot be reached') as string },
    })
    expect(pair.logged).toContainEqual(expect.stringContaining('warn: attempt of a job ended here: shard s1'))
  })

  const cutOffLoops = (pair: Pair): void => {
    looped = 0
    let seen = 0
    pair.cutOff = () => {
      const loops = looped > seen
      seen = looped
      return loops
    }
  }

  it('drop a row that loops, found by running its batch row by row; only its own stop counts, and against its stage', async () => {
    // Both shards have the stage: two stops a shard would be too many if their batches counted too.
    const pair = new Pair(['a', 'b', 'loop', 'c'])
    cutOffLoops(pair)
    await pair.started()
    await pair.settle()
    expect(pair.host(0).progress('counting', 1).status).toBe('completed')
    expect(new Set(pair.maps.entries('out').keys())).toEqual(new Set(['a', 'b', 'c']))
    expect(pair.stops).toEqual([lastStage, lastStage])
  })

  it('count a row that was cut off as taken by each stage that it reached, and handed on by none from there', async () => {
    const pair = new Pair(['a', 'b', 'loop', 'c'])
    cutOffLoops(pair)
    await pair.started()
    await pair.settle()
    const { stages } = pair.host(0).progress('counting', 1)
    expect(stages.slice(0, 3).map(({ name, rowsIn, rowsOut, deadLetters }) => [name, rowsIn, rowsOut, deadLetters])).toEqual([
      ['words', 4, 4, 0],
      ['words that loop', 4, 3, 1],
      ['by word', 3, 3, 0],
    ])
  })

  it('count a row that was cut off behind an exchange, or behind a side output, once', async () => {
    const strict = (word: string): string => {
      if (word !== 'loop') return word
      looped += 1
      throw new ReplaySignal()
    }
    const behind = defineJob('counting', { onError: 'skip' }, flow => {
      flow
        .source('words', memorySource<string>())
        .map('wrapped', word => ({ word, whole: undefined }))
        .keyBy('by word', Key, row => row.word)
        .require('whole', 'whole')
        .rejected('not whole')
        .map('strict', row => strict(row.word))
        .sink('out', flow.map('out', Key))
    })
    const pair = new Pair(['a', 'b', 'loop', 'c'], behind)
    cutOffLoops(pair)
    await pair.started()
    await pair.settle()
    const [here, there] = [0, 1].map(index => pair.host(index).progress('counting', 1).stages)
    const totals = (here ?? []).map((stage, index) => {
      const other = there?.[index]
      return [stage.name, stage.rowsIn + (other?.rowsIn ?? 0), stage.rowsOut + (other?.rowsOut ?? 0)]
    })
    expect(totals).toEqual([
      ['words', 8, 8],
      ['wrapped', 8, 8],
      ['by word', 8, 8],
      ['whole', 8, 0],
      ['not whole', 8, 8],
      ['strict', 8, 6],
      ['out', 6, 6],
    ])
  })

  it('fail at the third row of one stage that must be stopped, and say so', async () => {
    const pair = new Pair(['a', 'loop', 'loop', 'b', 'loop', 'c', 'loop'])
    cutOffLoops(pair)
    await pair.started()
    await pair.settle()
    const ends = [0, 1].map(index => pair.host(index).progress('counting', 1))
    expect(ends).toContainEqual(
      expect.objectContaining({
        status: 'failed',
        failure: {
          code: 'FUNCTION_FAILED',
          isFinal: true,
          stage: 'words that loop',
          message: expect.stringMatching(
            /^Stage "words that loop" failed at memory-\d, line \d: counting\/words that loop ran for.*A third row.*whatever onError says$/,
          ) as string,
        },
      }),
    )
  })

  it('read what user code made within a slice only: its getters could loop', async () => {
    const reads: boolean[] = []
    let pair: Pair | undefined
    const lazy = (word: string): { word: string; deep: object } => ({
      get word() {
        reads.push(pair?.inSlice === true)
        return word
      },
      deep: {
        get length() {
          reads.push(pair?.inSlice === true)
          return word.length
        },
      },
    })
    const reading = defineJob('counting', { onError: 'skip' }, flow => {
      flow
        .source('words', memorySource<string>())
        .map('lazy', lazy)
        .keyBy('by word', Key, row => row.word)
        .sink('out', flow.map('out', Key))
    })
    pair = new Pair(['a', 'b', 'c', 'd', 'e', 'f'], reading)
    await pair.started()
    await pair.settle()
    expect(pair.host(0).progress('counting', 1).status).toBe('completed')
    expect(pair.maps.entries('out').get('c')).toEqual({ word: 'c', deep: { length: 1 } })
    expect(pair.maps.entries('out').size).toBe(6)
    expect(new Set(reads)).toEqual(new Set([true]))
  })

  it('fail a job whose stage is quarantined', async () => {
    const pair = new Pair(['a'])
    await pair.started()
    const [task] = pair.tasks.splice(0)
    task?.stopped('quarantined: it was stopped three times', true)
    expect(pair.host(0).progress('counting', 1)).toMatchObject({
      status: 'failed',
      failure: { stage: 'words', message: expect.stringContaining('quarantined') as string },
    })
  })

  it("tell the user's message, stack and line when user code throws", async () => {
    const throwing = defineJob('counting', flow => {
      flow.source('words', memorySource<string>()).map('strict', word => {
        if (word === 'bad') throw new Error('no such word')
        return word
      })
    })
    const pair = new Pair(['a', 'bad'], throwing)
    await pair.started()
    await pair.settle()
    expect(pair.host(0).progress('counting', 1).failure).toEqual({
      message: 'Stage "strict" failed at memory-0, line 3: no such word',
      stage: 'strict',
      functionStack: 'stack of the source',
    })
  })

  it('tell of rows that fail without failing the job, in its log', async () => {
    const skipping = defineJob('counting', { onError: 'skip' }, flow => {
      flow.source('words', memorySource<string>()).map('strict', word => {
        if (word === 'bad') throw new Error('no such word')
        return word
      })
    })
    const pair = new Pair(['a', 'bad', 'bad'], skipping)
    await pair.started()
    await pair.settle()
    expect(pair.host(0).progress('counting', 1).status).toBe('completed')
    // One line on each of two shards.
    expect(pair.jobLog).toEqual(Array.from({ length: 2 }, () => '[strict] 2 rows failed: no such word, stack of the source'))
  })

  it('drop frames of attempts that do not run here, and bytes that are no frame', async () => {
    const pair = new Pair(['a'])
    pair.host(0).onExchange('s1' as ShardId, new Uint8Array(3))
    expect(pair.logged).toEqual(['warn: dropped bytes of a peer that are no frame'])
    const frame = new Uint8Array(26)
    pair.host(0).onExchange('s1' as ShardId, frame)
    expect(pair.logged).toHaveLength(1)
  })

  const bad: readonly (readonly [string, unknown, string, RegExp])[] = [
    ['a default export that is no job', { some: 'object' }, '', /default export is no job/],
    ['arguments that are not JSON', counting, '{', /not JSON/],
    [
      'a build that throws',
      defineJob('j', () => {
        throw new Error('oops')
      }) satisfies Job<undefined>,
      '',
      /Cannot build job "j": oops/,
    ],
    ['a build that is wrong', defineJob('j', flow => void flow.map('__x', Key)), '', /belong to the system/],
  ]
  for (const [what, exported, args, message] of bad) {
    it(`refuse ${what}`, async () => {
      const pair = new Pair([], exported)
      const described = pair.host(0).describe('', bundle, args)
      const outcome = expect(described).rejects.toThrow(message)
      await pair.settle()
      await outcome
    })
  }
})
