import { describe, expect, it } from 'vitest'
import { BundleStore, bundleOf } from '../../../src/node/bundle-store.ts'

function memoryMap() {
  const entries = new Map<string, Uint8Array>()
  return {
    entries,
    get: async (key: string) => entries.get(key),
    set: async (key: string, value: Uint8Array) => void entries.set(key, new Uint8Array(value)),
    delete: async (key: string) => void entries.delete(key),
  }
}

const bundle = bundleOf(Buffer.alloc(300_000, 'code'), Buffer.from('{"version":3}'))

describe('the store of bundles', () => {
  it('gives back what another node stored, from several chunks', async () => {
    const map = memoryMap()
    await new BundleStore(map).put(bundle)
    const loaded = await new BundleStore(map).load(bundle.hash)
    expect(map.entries.size).toBe(3)
    expect(Buffer.from(loaded.code).equals(Buffer.from(bundle.code))).toBe(true)
    expect(Buffer.from(loaded.sourceMap).toString()).toBe('{"version":3}')
  })

  it('says NOT_FOUND when a part is lost, until who still has it restores it', async () => {
    const map = memoryMap()
    const store = new BundleStore(map)
    await store.put(bundle)
    map.entries.delete(`${bundle.hash}/1`)
    await expect(new BundleStore(map).load(bundle.hash)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await store.restore(bundle.hash)
    await expect(new BundleStore(map).load(bundle.hash)).resolves.toMatchObject({ hash: bundle.hash })
  })

  it('leaves nothing behind when a bundle is removed', async () => {
    const map = memoryMap()
    const store = new BundleStore(map)
    await store.put(bundle)
    await store.removeUnless(bundle.hash, async () => false)
    expect(map.entries.size).toBe(0)
    await expect(store.load(bundle.hash)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('refuses a bundle whose content is not what its name says', async () => {
    const map = memoryMap()
    await new BundleStore(map).put(bundle)
    const first = map.entries.get(`${bundle.hash}/0`) as Uint8Array
    first[100] = (first[100] as number) ^ 1
    await expect(new BundleStore(map).load(bundle.hash)).rejects.toMatchObject({ code: 'INTERNAL' })
  })

  it('does not remove what is put while it is looked for users', async () => {
    const map = memoryMap()
    const store = new BundleStore(map)
    await store.put(bundle)
    const isUsed = Promise.withResolvers<boolean>()
    const removed = store.removeUnless(bundle.hash, () => isUsed.promise)
    const put = store.inTurn(() => store.put(bundle))
    isUsed.resolve(false)
    await Promise.all([removed, put])
    await expect(new BundleStore(map).load(bundle.hash)).resolves.toMatchObject({ hash: bundle.hash })
    await store.removeUnless(bundle.hash, async () => true)
    await expect(new BundleStore(map).load(bundle.hash)).resolves.toMatchObject({ hash: bundle.hash })
  })
})
