import { expect, test } from 'vitest'
import type { MapDefinition } from '../../../src/grid/map-definition.ts'
import type { CasOutcome, Coordinator, CoordinatorValue, WatchListener } from '../../../src/membership/coordinator-port.ts'
import { MapRegistry } from '../../../src/node/map-registry.ts'

/** A coordinator whose watch tells what happened only when asked to. */
class LateCoordinator implements Coordinator {
  readonly description = 'late'
  readonly values = new Map<string, CoordinatorValue>()
  readonly #events: (() => void)[] = []
  #listener: WatchListener | undefined

  async read(key: string): Promise<CoordinatorValue | undefined> {
    return this.values.get(key)
  }

  async list(): Promise<readonly CoordinatorValue[]> {
    return [...this.values.values()]
  }

  async compareAndSet(key: string, expectedVersion: number, value: Uint8Array | undefined): Promise<CasOutcome> {
    const version = this.values.get(key)?.version ?? 0
    if (version !== expectedVersion) return { kind: 'conflict', version }
    if (value === undefined) {
      this.values.delete(key)
      this.#events.push(() => this.#listener?.onDelete(key))
      return { kind: 'done', version: 0 }
    }
    const stored = { key, value, version: version + 1 }
    this.values.set(key, stored)
    if (key.startsWith('maps/')) this.#events.push(() => this.#listener?.onValue(stored))
    return { kind: 'done', version: version + 1 }
  }

  watch(_: string, listener: WatchListener): { stop(): void } {
    this.#listener = listener
    return { stop: () => {} }
  }

  openSession(): Promise<never> {
    return Promise.reject(new Error('none'))
  }

  async close(): Promise<void> {}

  /** The watch tells the event at `index`. */
  tell(index = 0): void {
    this.#events.splice(index, 1)[0]?.()
  }
}

const namesOf = (definitions: readonly MapDefinition[] | undefined): readonly string[] => (definitions ?? []).map(({ name }) => name).sort()

test('a map answered to a shard is in every list from then on, also while the watch is behind', async () => {
  const coordinator = new LateCoordinator()
  const lists: (readonly MapDefinition[])[] = []
  const maps = new MapRegistry({ coordinator, wallTimeMs: () => 0, onChange: definitions => lists.push(definitions) })
  const a = await maps.ensure({ name: 'a', keySpace: 'a', keyCodec: 'string' })
  await maps.ensure({ name: 'b', keySpace: 'b', keyCodec: 'string' })
  coordinator.tell(1) // of b
  expect(namesOf(lists.at(-1))).toEqual(['a', 'b'])
  coordinator.tell() // of a
  expect(namesOf(lists.at(-1))).toEqual(['a', 'b'])
  await maps.remove('a')
  maps.drop('a', a.id)
  expect(namesOf(lists.at(-1))).toEqual(['b'])
  coordinator.tell()
  expect(namesOf(maps.definitions)).toEqual(['b'])
})

test('a map that is dropped before the watch has told of it stays dropped', async () => {
  const coordinator = new LateCoordinator()
  const maps = new MapRegistry({ coordinator, wallTimeMs: () => 0, onChange: () => {} })
  const a = await maps.ensure({ name: 'a', keySpace: 'a', keyCodec: 'string' })
  await maps.remove('a')
  maps.drop('a', a.id)
  expect(maps.definitions).toEqual([])
  coordinator.tell()
  expect(maps.definitions).toEqual([])
  coordinator.tell()
  expect(maps.definitions).toEqual([])
})
