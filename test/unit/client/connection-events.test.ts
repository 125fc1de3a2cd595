import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { NearstateError } from '../../../src/base/errors.ts'
import { GridMap } from '../../../src/client/grid-map.ts'
import { Router } from '../../../src/client/router.ts'
import { defineKey } from '../../../src/keys/key-space.ts'
import { describeFake, FakeShard } from './fake-cluster.ts'

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

it('a shard that is lost is told once, however often it is dialled in vain, and again when it was up meanwhile', async () => {
  const shard = new FakeShard('a:1')
  const told: string[] = []
  const options = {
    routing: 'direct' as const,
    limits: { inFlightMax: 1000, waitingMax: 10, inFlightMaxBytes: 1e7 },
    connectShard: () => shard.connection(),
    onPipeUp: () => told.push('up'),
    onPipeDown: () => told.push('down'),
    onStale: () => undefined,
  }
  const router = new Router(options)
  router.update(describeFake(1n, [0, 0, 0, 0]))
  const map = new GridMap(router, 'profiles', defineKey('customer', 'string'), undefined, 60_000)
  const dial = async (): Promise<void> => {
    map.get('a').catch(() => undefined)
    vi.advanceTimersByTime(3000)
    await turn()
  }
  await dial()
  const lose = (): void => shard.listener?.onDown(new NearstateError('UNAVAILABLE', 'gone'))
  lose()
  shard.open = false
  for (let attempt = 1; attempt < 8; attempt += 1) {
    await dial()
    expect(shard.opened).toBe(1 + attempt)
    lose()
  }
  shard.open = true
  await dial()
  lose()
  expect(told).toEqual(['up', 'down', 'up', 'down'])
  router.close()
})
