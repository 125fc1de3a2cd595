/** Stages whose rows wait for answers from outside, and the log. */
import { describe, expect, it } from 'vitest'
import { count, defineJob, defineKey, generator, type KeyedStage, type MapAsyncOptions, type Stage, tumbling } from 'nearstate/stream'
import { type TestJob, testJob, type TestJobOptions } from 'nearstate/testing'

interface Row {
  readonly k: string
  readonly at: number
}

const Key = defineKey('k', 'string')
const at = (time: number, k = 'a'): Row => ({ k, at: time })
type Rows = Stage<Row>
type Keyed = KeyedStage<typeof Key, Row>

const job = (build: (rows: Rows, keyed: Keyed) => void, onError: 'fail' | 'skip' | 'deadLetter' = 'fail') =>
  defineJob('job', { onError }, flow => {
    const rows = flow.source('rows', generator({ events: () => at(0) })).eventTime(r => r.at)
    build(
      rows,
      rows.keyBy('keyed', Key, r => r.k),
    )
  })

/** A function whose promises the test resolves, by the time of their row. */
class Answers {
  readonly asked: number[] = []
  readonly #open = new Map<number, { resolve: (value: string) => void; reject: (reason: unknown) => void }>()

  readonly ask = (row: Row): Promise<string> => {
    this.asked.push(row.at)
    return new Promise((resolve, reject) => void this.#open.set(row.at, { resolve, reject }))
  }

  async give(test: TestJob, ...times: number[]): Promise<void> {
    for (const time of times) this.#open.get(time)?.resolve(`answer ${time}`)
    await soon()
    test.run()
  }

  async refuse(test: TestJob, time: number, reason: unknown): Promise<void> {
    this.#open.get(time)?.reject(reason)
    await soon()
    test.run()
  }
}

const soon = (): Promise<void> => new Promise(resolve => void setImmediate(resolve))

async function asking(options: MapAsyncOptions, of: TestJobOptions = {}, onError: Parameters<typeof job>[1] = 'fail') {
  const answers = new Answers()
  const test = await testJob(
    job(rows => void rows.mapAsync('answers', answers.ask, options), onError),
    of,
  )
  return { answers, test, push: (...times: number[]) => test.source('rows').push(times.map(time => at(time))) }
}

describe('mapAsync', () => {
  it('hands rows on in their order, or as they are answered', async () => {
    const ordered = await asking({})
    ordered.push(1, 2, 3)
    await ordered.answers.give(ordered.test, 3, 2)
    expect(ordered.test.rowsOf('answers')).toEqual([])
    await ordered.answers.give(ordered.test, 1)
    expect(ordered.test.rowsOf('answers')).toEqual(['answer 1', 'answer 2', 'answer 3'])

    const free = await asking({ ordered: false })
    free.push(1, 2, 3)
    await free.answers.give(free.test, 3, 2)
    expect(free.test.rowsOf('answers')).toEqual(['answer 3', 'answer 2'])
  })

  it('makes at most so many calls, and then nothing more is read', async () => {
    const { answers, test, push } = await asking({ inFlight: 2, ordered: false }, { unitRows: 1 })
    push(1, 2, 3, 4, 5)
    expect(answers.asked).toEqual([1, 2])
    expect(test.figuresOf('rows').rowsIn).toBe(2)
    await answers.give(test, 1)
    expect(answers.asked).toEqual([1, 2, 3])
    expect(test.figuresOf('rows').rowsIn).toBe(3)
  })

  it('keeps watermarks behind the rows that came before them', async () => {
    const answers = new Answers()
    const build = (rows: Rows): void => {
      const answered = rows.mapAsync('answers', async r => ({ ...r, said: await answers.ask(r) }), { ordered: false })
      answered.keyBy('by k', Key, r => r.k).window('w', tumbling('10ms'), { n: count() })
    }
    const test = await testJob(job(build))
    test.source('rows').push([at(1), at(2)])
    test.source('rows').push([at(30)])
    await answers.give(test, 30, 2)
    expect(test.rowsOf('answers')).toHaveLength(1)
    expect(test.rowsOf('w')).toEqual([])
    await answers.give(test, 1)
    expect(test.rowsOf('w')).toEqual([{ key: 'a', windowStart: 0, windowEnd: 10, n: 2 }])
    test.end()
    await test.settled()
    expect(test.status).toBe('completed')
    expect(test.figuresOf('w').late).toBe(0)
  })

  it('gives a call up that has no answer in time, and its late answer with it', async () => {
    const { answers, test, push } = await asking({ timeout: '5s' }, {}, 'deadLetter')
    push(1, 2)
    test.pass('4s')
    await answers.give(test, 2)
    expect(test.rowsOf('answers')).toEqual([])
    test.pass('1s')
    expect(test.rowsOf('answers')).toEqual(['answer 2'])
    expect(test.deadLetters()).toEqual([
      expect.objectContaining({ stage: 'answers', reason: 'its call had no answer within 5000 ms', row: at(1) }),
    ])
    await answers.give(test, 1)
    expect(test.rowsOf('answers')).toEqual(['answer 2'])
  })

  it('repeats calls that fail, later each time, and fails the job when that does not help', async () => {
    const { answers, test, push } = await asking({ retries: 2 })
    push(1)
    await answers.refuse(test, 1, new Error('no'))
    expect(answers.asked).toEqual([1])
    test.pass('100ms')
    expect(answers.asked).toEqual([1, 1])
    await answers.refuse(test, 1, new Error('no'))
    test.pass('199ms')
    expect(answers.asked).toEqual([1, 1])
    test.pass('1ms')
    expect(answers.asked).toEqual([1, 1, 1])
    await expect(answers.refuse(test, 1, new Error('never'))).rejects.toThrow('never')
    expect(test.status).toBe('failed')
  })

  it('fails the rows for which it throws, or returns no promise', async () => {
    const build = (rows: Rows): void => {
      rows.mapAsync('broken', r => {
        if (r.at === 1) throw new Error('at once')
        return r.at === 2 ? (5 as unknown as Promise<number>) : Promise.resolve(r.at)
      })
    }
    const test = await testJob(job(build, 'deadLetter'))
    test.source('rows').push([at(1), at(2), at(3)])
    await test.settled()
    expect(test.rowsOf('broken')).toEqual([3])
    expect(test.deadLetters().map(({ reason }) => reason)).toEqual(['at once', expect.stringContaining('must return a promise')])
  })

  it('takes a checkpoint with calls under way, and calls again for them after a crash, on whatever shards', async () => {
    const { answers, test, push } = await asking({}, { shards: 2 })
    push(1, 2)
    await test.checkpoint()
    await answers.give(test, 1)
    expect(test.rowsOf('answers')).toEqual(['answer 1'])
    const { records } = await test.checkpoint()
    expect(records).toBeGreaterThan(0)
    push(3)
    test.crash({ shards: 3 })
    await soon()
    test.run()
    expect(answers.asked).toEqual([1, 2, 3, 2, 3])
    await answers.give(test, 3, 2)
    expect(new Set(test.rowsOf('answers'))).toEqual(new Set(['answer 1', 'answer 2', 'answer 3']))
    // Nothing is left of them: another crash calls for none.
    await test.checkpoint()
    test.crash({ shards: 1 })
    expect(answers.asked).toHaveLength(5)
    test.end()
    expect(test.status).toBe('completed')
  })

  it('counts a row once that is answered when a checkpoint comes, also where its key stays on the shard and the barrier waits for others', async () => {
    const build = (rows: Rows): void => {
      rows
        .mapAsync('answered', async r => r)
        .keyBy('again', Key, r => r.k)
        .aggregate('counts', { n: count() })
    }
    const test = await testJob(job(build), { shards: 2, splits: 2, manual: true })
    for (const split of [0, 1])
      test.source('rows').push(
        ['a', 'b', 'c', 'd'].map(k => at(1, k)),
        { split },
      )
    test.run()
    await soon()
    test.beginCheckpoint()
    test.run()
    test.crash()
    await test.settled()
    const counts = (test.rowsOf('counts') as readonly { readonly key: string; readonly n: number }[]).map(({ key, n }) => `${key} ${n}`)
    expect(new Set(counts)).toEqual(new Set(['a 1', 'a 2', 'b 1', 'b 2', 'c 1', 'c 2', 'd 1', 'd 2']))
  })

  it('fetches, as the test answers', async () => {
    const build = (rows: Rows): void => {
      rows.mapAsync('rates', async (r, call) => {
        const answer = await call.fetch(`https://rates.example/${r.k}`, { method: 'POST', body: String(r.at) })
        return `${answer.status} ${String(answer.json())}`
      })
    }
    const seen: unknown[] = []
    const fetch = (url: string, options: object) => {
      seen.push([url, options])
      return { status: 201, body: '"fine"' }
    }
    const test = await testJob(job(build), { fetch })
    test.source('rows').push([at(7)])
    await test.settled()
    expect(test.rowsOf('rates')).toEqual(['201 fine'])
    expect(seen).toEqual([['https://rates.example/a', { method: 'POST', body: '7' }]])
    const without = await testJob(job(build))
    without.source('rows').push([at(7)])
    await expect(without.settled()).rejects.toThrow(/given no \{ fetch \}/)
  })
})

describe('lookup', () => {
  it('joins rows with entries of any map, in their order', async () => {
    const Country = defineKey('country', 'int64')
    const lookup = defineJob('lookup', { onError: 'skip' }, flow => {
      const countries = flow.map<typeof Country>('countries', Country)
      flow.source('rows', generator({ events: (n): number => n })).lookup(
        'named',
        countries,
        n => n,
        (n, name) => `${n} ${String(name ?? '-')}`,
        { inFlight: 2 },
      )
    })
    const test = await testJob(lookup, {
      maps: {
        countries: [
          [1, 'one'],
          [3, 'three'],
        ],
      },
      shards: 2,
    })
    test.source('rows').push([1, 2, 'x' as unknown as number, 3, 1])
    expect(test.rowsOf('named')).toEqual(['1 one', '2 -', '3 three', '1 one'])
    expect(test.figuresOf('named').deadLetters).toBe(1)
  })
})

describe('log', () => {
  it('writes one of so many rows, at most so many a second, and hands all of them on', async () => {
    const build = (rows: Rows): void => {
      rows.log('every second', { every: 2, perSecond: 2, text: r => `at ${r.at}` }).map('times', r => r.at)
      rows.log('whole', { perSecond: 1 })
    }
    const test = await testJob(job(build))
    test.source('rows').push([1, 2, 3, 4, 5, 6, 7].map(time => at(time)))
    test.pass('1s')
    test.source('rows').push([at(8), at(9)])
    expect(test.rowsOf('times')).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(test.logOf('every second')).toEqual(['at 1', 'at 3', 'at 9 (2 rows before it were left out: at most 2 a second are written)'])
    expect(test.logOf('whole')[0]).toBe('{"k":"a","at":1}')
    test.end()
    expect(test.logOf('whole').at(-1)).toBe('(1 rows at the end were left out: at most 1 a second are written)')
    expect(test.logOf('every second')).toHaveLength(3)
  })

  it('writes nothing twice of a unit that is undone, and costs no row', async () => {
    const build = (rows: Rows): void => {
      rows
        .log('lines', {
          text: r => {
            if (r.at === 2) throw new Error('odd')
            return String(r.at)
          },
        })
        .keyBy('by k', Key, r => r.k)
        .process('strict', {
          state: () => 0,
          onEvent(_ctx, r) {
            if (r.at === 3) throw new Error('three')
          },
        })
    }
    const test = await testJob(job(build, 'skip'))
    test.source('rows').push([at(1), at(2), at(3)])
    expect(test.logOf('lines')).toEqual(['1', '(cannot be shown: odd)', '3'])
    expect(test.figuresOf('lines').rowsOut).toBe(3)
  })
})
