/** Dead letters that are replayed while shards crash: each row counts once as soon as it is told to be replayed, and never twice. */
import { describe, expect, it } from 'vitest'
import { randomInteger, seededRandom } from '../../../../src/base/random.ts'
import { defineJob, defineKey, row } from '../../../../src/entry/stream.ts'
import { encodeKey } from '../../../../src/keys/encode-key.ts'
import { partitionOfKey } from '../../../../src/keys/partition-of.ts'
import type { LetterEntry, ReplayOutcome } from '../../../../src/streaming/execution/replays.ts'
import { encodeValue } from '../../../../src/wire/value-codec.ts'
import { memoryConnectors, memorySource } from '../fixture.ts'
import { type RunOptions, runWithCheckpoints } from './cluster.ts'

interface Event {
  readonly id: string
  readonly key: string
}

const partitions = 24
const Key = defineKey('key', 'string')
const Other = defineKey('other', 'string')
const events = Array.from({ length: 1200 }, (_, n): Event => ({ id: `e${n}`, key: `k${n % 17}` }))
const splits = [0, 1, 2].map(part => ({ records: events.filter((_, n) => n % 3 === part) }))

/** How often each row has come, per key, and behind a second exchange. */
const job = defineJob('replayed', { onError: 'deadLetter' }, flow => {
  const seen = flow
    .source('events', memorySource<Event>())
    .map('tidy', event => event)
    .keyBy('by key', Key, event => event.key)
    .map('strict', event => {
      if (event.id.endsWith('bad')) throw new Error('bad')
      return event
    })
  const seenTwice = (name: string) => ({
    emits: row<{ readonly name: string; readonly seen: readonly (readonly [string, number])[] }>(),
    state: () => new Map<string, number>(),
    onEvent(
      ctx: { state: Map<string, number>; emit: (emitted: { name: string; seen: readonly (readonly [string, number])[] }) => void },
      event: Event,
    ) {
      ctx.state.set(event.id, (ctx.state.get(event.id) ?? 0) + 1)
      ctx.emit({ name, seen: [...ctx.state] })
    },
  })
  seen.process('first', seenTwice('first')).sink('to first', flow.map('first', Key))
  seen
    .rekey('by other', Other, event => `${event.key}-${event.id.length % 3}`)
    .process('second', seenTwice('second'))
    .sink('to second', flow.map('second', Other))
})

interface Letter {
  readonly id: string
  readonly partition: number
  readonly entry: LetterEntry
  outcome: ReplayOutcome['kind'] | undefined
  isForgotten: boolean
}

/** As the stages before the key, at the key and behind it would have written them. */
function lettersOf(count: number): readonly Letter[] {
  return Array.from({ length: count }, (_, n) => {
    const stage = ['events', 'tidy', 'by key', 'strict', 'second'][n % 5] ?? ''
    const id = n % 11 === 3 ? `l${n}bad` : `l${n}`
    const event = { id, key: `k${n % 17}` }
    const rowKey = stage === 'strict' ? event.key : stage === 'second' ? `${event.key}-${id.length % 3}` : undefined
    const bytes = encodeKey('string', rowKey ?? id)
    const partition = partitionOfKey('string', bytes, 0, bytes.length, partitions)
    const replay = { time: 0, partition, ...(rowKey === undefined ? {} : { key: rowKey }) }
    // Of a split that there is, or that there is not any more.
    const origin = n % 2 === 0 ? 'memory-0' : 'gone'
    const value = encodeValue({ stage, origin, line: 5000 + n, reason: '', row: event, at: 0, replay })
    return { id, partition, entry: { key: `${origin}:${5000 + n}:${stage}`, version: 7, value }, outcome: undefined, isForgotten: false }
  })
}

async function run(seed: number, more: Partial<RunOptions> = {}) {
  const random = seededRandom(seed)
  const letters = lettersOf(50)
  const ask = (letter: Letter, taskOf: Parameters<NonNullable<RunOptions['onStep']>>[0]): void => {
    const task = taskOf(letter.partition)
    if (task.state.kind !== 'running') return
    const [outcome] = task.replay(letter.partition, [letter.entry], [])
    // Once a checkpoint has it, no crash takes it back.
    if (letter.outcome === 'replayed') expect(outcome?.kind).toBe('replayed')
    letter.outcome = outcome?.kind
  }
  const { maps, crashes } = await runWithCheckpoints({
    job,
    connectorOf: memoryConnectors({ memory: splits }, 7),
    random,
    partitions,
    onStep(taskOf) {
      const letter = letters[randomInteger(random, 300)]
      if (letter === undefined || letter.isForgotten) return
      if (letter.outcome === 'replayed' && random.next() < 0.1 && taskOf(letter.partition).state.kind === 'running') {
        taskOf(letter.partition).replay(letter.partition, [], [letter.entry])
        letter.isForgotten = true
      } else ask(letter, taskOf)
    },
    ...more,
  })
  const timesSeen = (map: string): Map<string, number> =>
    new Map([...maps.entries(map).values()].flatMap(value => [...(value as { seen: [string, number][] }).seen]))
  return { letters, crashes, first: timesSeen('first'), second: timesSeen('second'), left: maps.entries('replayed.dead-letters') }
}

describe('dead letters that are replayed', () => {
  it('count once, whatever crashes, and those that fail again are letters of the same name', async () => {
    let crashes = 0
    let replayed = 0
    for (let seed = 1; seed < 17; seed += 1) {
      const found = await run(seed, { crashChance: 0.003, giveUpChance: 0.005, barrierChance: 0.1 })
      crashes += found.crashes
      for (const { id } of events) expect([found.first.get(id), found.second.get(id)]).toEqual([1, 1])
      for (const { id, outcome, entry } of found.letters) {
        const isSecond = entry.key.endsWith(':second')
        const times = [isSecond ? 1 : (found.first.get(id) ?? 0), found.second.get(id) ?? 0]
        if (id.endsWith('bad') && !isSecond) expect({ seed, id, times }).toEqual({ seed, id, times: [0, 0] })
        else if (outcome === 'replayed') expect({ seed, id, times }).toEqual({ seed, id, times: [1, 1] })
        else for (const count of times) expect(count).toBeLessThanOrEqual(1)
        if (outcome === 'replayed') replayed += 1
        if (outcome === 'failedAgain' && entry.key.endsWith(':strict')) expect([...found.left.keys()]).toContain(entry.key)
      }
    }
    expect(crashes).toBeGreaterThan(12)
    expect(replayed).toBeGreaterThan(16 * 30)
  })
})

describe('a letter that cannot be replayed', () => {
  const refusalOf = async (value: object | null): Promise<ReplayOutcome | undefined> => {
    let refusal: ReplayOutcome | undefined
    await runWithCheckpoints({
      job,
      connectorOf: memoryConnectors({ memory: splits }, 7),
      random: seededRandom(1),
      partitions,
      onStep(taskOf) {
        refusal ??= taskOf(3).replay(3, [{ key: 'a', version: 1, value: encodeValue(value) }], [])[0]
      },
    })
    return refusal
  }

  it.each([
    [null, 'its entry is no letter'],
    [{ stage: 'gone', row: 1, replay: { time: 0, partition: 3 } }, 'the job has no such stage now'],
    [{ stage: 'strict', row: 1 }, 'it was no row in front of its stage'],
    [{ stage: 'tidy', row: 1, replay: { time: 0, key: 'k', partition: 3 } }, 'its stage takes rows without a key now'],
    [{ stage: 'strict', row: 1, replay: { time: 0, partition: 3 } }, 'its stage has other keys now'],
    [{ stage: 'strict', row: 1, replay: { time: 0, key: 12, partition: 3 } }, 'its stage has other keys now'],
  ])('%j is refused: %s', async (value, reason) => {
    expect(await refusalOf(value)).toMatchObject({ kind: 'refused', reason: expect.stringContaining(reason) as string })
  })
})
