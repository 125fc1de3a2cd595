/** What every coordinator must do, whichever store is behind it. */
import { afterEach, describe, expect, it } from 'vitest'
import type { Coordinator, CoordinatorValue } from '../../src/membership/coordinator-port.ts'

export interface CoordinatorUnderTest {
  readonly coordinator: Coordinator
  /** A second process's view of the same store. */
  connectAgain(): Coordinator
  close(): Promise<void>
}

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (value: CoordinatorValue | undefined): string | undefined =>
  value === undefined ? undefined : new TextDecoder().decode(value.value)

/** Everything that a watch reports, as lines; waits for a line or a number of them. */
export class WatchLog {
  readonly lines: string[] = []
  readonly #watch: { stop(): void }
  #wake = Promise.withResolvers<void>()

  constructor(coordinator: Coordinator, prefix: string) {
    const note = (line: string): void => {
      this.lines.push(line)
      this.#wake.resolve()
      this.#wake = Promise.withResolvers()
    }
    this.#watch = coordinator.watch(prefix, {
      onValue: value => note(`${value.key}=${text(value)}`),
      onDelete: key => note(`${key} deleted`),
      onCaughtUp: () => note('caught up'),
    })
  }

  async until(isReached: (lines: readonly string[]) => boolean): Promise<readonly string[]> {
    const patience = AbortSignal.timeout(8000)
    while (!isReached(this.lines)) {
      if (patience.aborted) throw new Error(`the watch has reported only: ${this.lines.join(', ')}`)
      await Promise.race([this.#wake.promise, new Promise(resolve => setTimeout(resolve, 100))])
    }
    return this.lines
  }

  untilLine = (line: string): Promise<readonly string[]> => this.until(lines => lines.includes(line))

  stop(): void {
    this.#watch.stop()
  }
}

export function coordinatorContract(name: string, make: () => Promise<CoordinatorUnderTest>): void {
  describe(`the ${name} coordinator`, () => {
    const opened: CoordinatorUnderTest[] = []
    const open = async (): Promise<CoordinatorUnderTest> => {
      const made = await make()
      opened.push(made)
      return made
    }
    afterEach(async () => {
      for (const made of opened.splice(0)) await made.close()
    })

    it('has nothing under a key until it is written, and then the value with a version above 0', async () => {
      const { coordinator } = await open()
      expect(await coordinator.read('a')).toBeUndefined()
      const outcome = await coordinator.compareAndSet('a', 0, bytes('one'))
      expect(outcome).toMatchObject({ kind: 'done' })
      const value = await coordinator.read('a')
      expect([text(value), value?.version]).toEqual(['one', outcome.version])
      expect(outcome.version).toBeGreaterThan(0)
    })

    it('writes only over the expected version, and tells the one that is there', async () => {
      const { coordinator } = await open()
      const first = await coordinator.compareAndSet('a', 0, bytes('one'))
      expect(await coordinator.compareAndSet('a', 0, bytes('two'))).toEqual({ kind: 'conflict', version: first.version })
      const second = await coordinator.compareAndSet('a', first.version, bytes('two'))
      expect(second.version).toBeGreaterThan(first.version)
      expect(await coordinator.compareAndSet('a', first.version, bytes('three'))).toEqual({ kind: 'conflict', version: second.version })
      expect(await coordinator.compareAndSet('none', 7, bytes('x'))).toEqual({ kind: 'conflict', version: 0 })
      expect(text(await coordinator.read('a'))).toBe('two')
    })

    it('deletes by compare-and-set, and never gives an old version again', async () => {
      const { coordinator } = await open()
      const first = await coordinator.compareAndSet('a', 0, bytes('one'))
      expect(await coordinator.compareAndSet('a', first.version + 1, undefined)).toMatchObject({ kind: 'conflict' })
      expect(await coordinator.compareAndSet('a', first.version, undefined)).toEqual({ kind: 'done', version: 0 })
      expect(await coordinator.read('a')).toBeUndefined()
      expect((await coordinator.compareAndSet('a', 0, bytes('again'))).version).toBeGreaterThan(first.version)
    })

    it('lets exactly one of many racing writers win', async () => {
      const { coordinator, connectAgain } = await open()
      const other = connectAgain()
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? coordinator : other).compareAndSet('a', 0, bytes(String(i)))),
      )
      expect(outcomes.filter(({ kind }) => kind === 'done').length).toBe(1)
    })

    it('counts without losing an increment when all retry', async () => {
      const { coordinator, connectAgain } = await open()
      const increment = async (via: Coordinator): Promise<void> => {
        for (;;) {
          const value = await via.read('n')
          const next = bytes(String(Number(text(value) ?? 0) + 1))
          if ((await via.compareAndSet('n', value?.version ?? 0, next)).kind === 'done') return
        }
      }
      const other = connectAgain()
      await Promise.all(Array.from({ length: 12 }, (_, i) => increment(i % 2 === 0 ? coordinator : other)))
      expect(text(await coordinator.read('n'))).toBe('12')
    })

    it('keeps a copy of what it was given', async () => {
      const { coordinator } = await open()
      const value = bytes('one')
      await coordinator.compareAndSet('a', 0, value)
      value[0] = 0
      expect(text(await coordinator.read('a'))).toBe('one')
    })

    it('lists what is under a prefix', async () => {
      const { coordinator } = await open()
      for (const key of ['maps/a', 'jobs/a', 'maps/b', 'map']) await coordinator.compareAndSet(key, 0, bytes(key))
      expect((await coordinator.list('maps/')).map(({ key }) => key).sort()).toEqual(['maps/a', 'maps/b'])
      expect(await coordinator.list('none/')).toEqual([])
    })

    it('reports what is there, then says so, then every change under the prefix in order', async () => {
      const { coordinator, connectAgain } = await open()
      await coordinator.compareAndSet('maps/a', 0, bytes('1'))
      await coordinator.compareAndSet('jobs/a', 0, bytes('1'))
      const log = new WatchLog(connectAgain(), 'maps/')
      await log.untilLine('caught up')
      let version = 0
      for (let i = 0; i < 30; i += 1) version = (await coordinator.compareAndSet('maps/b', version, bytes(String(i)))).version
      await coordinator.compareAndSet('jobs/a', 0, bytes('2'))
      await coordinator.compareAndSet('maps/b', version, undefined)
      await log.untilLine('maps/b deleted')
      expect(log.lines).toEqual(['maps/a=1', 'caught up', ...Array.from({ length: 30 }, (_, i) => `maps/b=${i}`), 'maps/b deleted'])
      log.stop()
    })

    it('reports nothing more after a watch was stopped', async () => {
      const { coordinator } = await open()
      const stopped = new WatchLog(coordinator, '')
      const other = new WatchLog(coordinator, '')
      await Promise.all([stopped.untilLine('caught up'), other.untilLine('caught up')])
      stopped.stop()
      await coordinator.compareAndSet('a', 0, bytes('1'))
      await other.untilLine('a=1')
      expect(stopped.lines).toEqual(['caught up'])
      other.stop()
    })

    it('shows a session as a value that goes when the session is closed', async () => {
      const { coordinator, connectAgain } = await open()
      const log = new WatchLog(connectAgain(), 'sessions/')
      await log.untilLine('caught up')
      const session = await coordinator.openSession('sessions/n1', bytes('id 1'), 3000)
      await log.untilLine('sessions/n1=id 1')
      await session.close()
      await session.lapsed
      await log.untilLine('sessions/n1 deleted')
      log.stop()
    })

    it('gives a session key to one holder at a time', async () => {
      const { coordinator, connectAgain } = await open()
      const session = await coordinator.openSession('sessions/n1', bytes('1'), 3000)
      await expect(connectAgain().openSession('sessions/n1', bytes('2'), 3000)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
      await session.close()
      await (await connectAgain().openSession('sessions/n1', bytes('2'), 3000)).close()
    })

    it('keeps a session alive by itself for longer than its time to live', async () => {
      const { coordinator } = await open()
      const session = await coordinator.openSession('sessions/n1', bytes('1'), 300)
      const ended = await Promise.race([session.lapsed.then(() => true), new Promise(resolve => setTimeout(() => resolve(false), 900))])
      expect(ended).toBe(false)
      expect(await coordinator.read('sessions/n1')).toBeDefined()
      await session.close()
    })
  })
}
