import { describe, expect, it } from 'vitest'
import type { ClusterView } from '../../../src/membership/cluster-state.ts'
import { emptyCluster } from '../../../src/membership/transitions.ts'
import { ViewFeed } from '../../../src/node/view-feed.ts'

const view = (version: number): ClusterView => ({ version, state: emptyCluster('c', 8) })

describe('the feed of cluster states', () => {
  it('tells listeners and those who wait of newer states only', async () => {
    const feed = new ViewFeed()
    const seen: number[] = []
    feed.onChange(({ version }) => seen.push(version))
    const first = feed.next()
    feed.offer(view(2))
    await first
    let woken = false
    const second = feed.next().then(() => (woken = true))
    feed.offer(view(1))
    await Promise.resolve()
    expect(woken).toBe(false)
    feed.offer(view(3))
    await second
    expect(seen).toEqual([2, 3])
    expect(feed.view?.version).toBe(3)
  })

  it('lets go of those who have left, and of all when it stops', async () => {
    const feed = new ViewFeed()
    const leaving = new AbortController()
    const left = feed.next(leaving.signal)
    leaving.abort()
    await left
    await feed.next(leaving.signal)
    const waiting = feed.next()
    feed.stop()
    await waiting
    await feed.next()
    feed.offer(view(1))
    expect(feed.view).toBeUndefined()
  })
})
