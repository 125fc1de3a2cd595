import { afterEach, describe, expect, it } from 'vitest'
import { EmbeddedCoordinator } from '../../../src/coordinator/embedded.ts'
import type { MapDefinition } from '../../../src/grid/map-definition.ts'
import { MapRegistry, type MapSettings } from '../../../src/node/map-registry.ts'

const coordinators: EmbeddedCoordinator[] = []
afterEach(async () => {
  for (const coordinator of coordinators.splice(0)) await coordinator.close()
})

function setUp(coordinator = new EmbeddedCoordinator()) {
  coordinators.push(coordinator)
  const seen: string[] = []
  const onChange = (name: string, definition: MapDefinition | undefined): void => void seen.push(`${name}#${definition?.id ?? 'gone'}`)
  return { coordinator, seen, registry: new MapRegistry({ coordinator, partitionCount: 240, wallTimeMs: () => 7, onChange }) }
}

const settings = (change: Partial<MapSettings> = {}): MapSettings => ({
  name: 'm',
  keySpace: 'm',
  keyCodec: 'string',
  ttlMs: 0,
  maxIdleMs: 0,
  maxBytes: 0,
  eviction: 'none',
  ...change,
})

describe('the registry of maps', () => {
  it('gives every map its own id, never one that was used before', async () => {
    const { registry } = setUp()
    const first = await registry.create(settings())
    await registry.remove('m')
    const second = await registry.create(settings())
    expect(second.id).toBeGreaterThan(first.id)
    expect(second.createdAtMs).toBe(7)
  })

  it('lets two nodes that create one map at once agree on one definition', async () => {
    const one = setUp()
    const two = setUp(one.coordinator)
    const [a, b] = await Promise.all([one.registry.create(settings()), two.registry.create(settings())])
    expect(a).toEqual(b)
  })

  it('refuses another definition, another key space, and what cannot be', async () => {
    const { registry } = setUp()
    await registry.create(settings())
    await expect(registry.create(settings({ ttlMs: 5 }))).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
    await expect(registry.ensure({ name: 'm', keySpace: 'other', keyCodec: 'string' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    for (const wrong of [
      { name: '' },
      { name: 'é'.repeat(128) },
      { name: 'a\nb' },
      { ttlMs: -1 },
      { eviction: 'lru' as const },
      { keySpace: '' },
      { keySpace: 'x'.repeat(256) },
      { keySpace: 'a\nb' },
    ]) {
      await expect(registry.create(settings(wrong))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    }
    await expect(registry.create(settings({ name: '__x' }))).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
  })

  it('refuses a maxBytes that could hold no entry, and names the least that can', async () => {
    const { registry } = setUp()
    for (const [change, least] of [
      [{ name: 'plain' }, 240 * 16],
      [{ name: 'numbers', keyCodec: 'int64' as const }, 240 * 24],
      [{ name: 'lru', eviction: 'lru' as const }, 240 * 20],
      [{ name: 'short-lived', ttlMs: 5 }, 240 * 32],
      [{ name: 'tuples', keyCodec: ['tuple', 'string', 'int64'] as const }, 240 * 24],
    ] as const) {
      await expect(registry.create(settings({ ...change, maxBytes: least - 1 }))).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        message: expect.stringMatching(new RegExp(`maxBytes is ${least - 1}.* 240 partitions .* is ${least}, and 0 means no limit`)),
      })
      await expect(registry.create(settings({ ...change, maxBytes: least }))).resolves.toMatchObject({ maxBytes: least })
    }
  })

  it('ensures a map with defaults, and system maps too', async () => {
    const { registry } = setUp()
    expect(await registry.ensure({ name: 'auto', keySpace: 'auto', keyCodec: 'int64' })).toMatchObject({ keyCodec: 'int64', ttlMs: 0 })
    await registry.ensure({ name: '__bundles', keySpace: '__bundles', keyCodec: 'string' })
    expect((await registry.list()).map(({ name }) => name)).toEqual(['auto'])
  })

  it('tells the shards of what is there, and forgets a dropped map before the watch says so', async () => {
    const { registry, seen } = setUp()
    const { id } = await registry.create(settings())
    await registry.caughtUp
    expect(seen.at(-1)).toBe(`m#${id}`)
    registry.drop('m', id)
    expect(seen.at(-1)).toBe('m#gone')
    await registry.remove('m')
    const next = await registry.create(settings())
    await Promise.resolve()
    expect(registry.definitions).toEqual([next])
  })

  it('tells of each change once, and not of the other maps again', async () => {
    const { registry, seen } = setUp()
    for (let n = 0; n < 100; n += 1) await registry.create(settings({ name: `m${n}` }))
    await registry.remove('m7')
    await new Promise(resolve => setImmediate(resolve))
    expect(seen).toHaveLength(101)
    expect(seen.at(-1)).toBe('m7#gone')
    expect(registry.definitions).toHaveLength(99)
  })

  it('does not deny a map that it has answered, until it is dropped', async () => {
    const { registry, seen } = setUp()
    const ensured = await registry.ensure({ name: 'm', keySpace: 'm', keyCodec: 'string' })
    expect(registry.definitions).toEqual([ensured])
    registry.drop('m', ensured.id)
    expect(registry.definitions).toEqual([])
    expect(seen.at(-1)).toBe('m#gone')
  })
})
