/** ioredis whose writes are held by a replica before they count: pipelined batches of 64, each followed by `WAIT 1 0`. */
import { Redis } from 'ioredis'
import { present } from '../../src/base/assert.ts'
import { serveSide } from '../rounds.ts'
import { Driver, type Load, type Store } from './load.ts'

const batchSize = 64

interface Pending {
  readonly key: string
  readonly value: Buffer
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

class WaitingStore implements Store {
  readonly #redis: Redis
  #pending: Pending[] = []
  #isScheduled = false

  constructor(redis: Redis) {
    this.#redis = redis
  }

  get(key: string): Promise<unknown> {
    return this.#redis.getBuffer(key)
  }

  set(key: string, value: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ key, value, resolve, reject })
      if (this.#pending.length >= batchSize) this.#send()
      else if (!this.#isScheduled) {
        this.#isScheduled = true
        setImmediate(() => {
          this.#isScheduled = false
          this.#send()
        })
      }
    })
  }

  #send(): void {
    const batch = this.#pending
    if (batch.length === 0) return
    this.#pending = []
    const pipeline = this.#redis.pipeline()
    for (const { key, value } of batch) pipeline.set(key, value)
    pipeline.call('WAIT', 1, 0)
    pipeline.exec().then(
      results => {
        const [, replicas] = results?.at(-1) ?? []
        for (const one of batch)
          if (Number(replicas) >= 1) one.resolve()
          else one.reject(new Error('the replica has not got it'))
      },
      (thrown: unknown) => batch.forEach(one => one.reject(thrown)),
    )
  }
}

let driver: Driver | undefined

serveSide({
  connect: async ({ port, keys }: { readonly port: number; readonly keys: number }) => {
    const redis = new Redis(port, '127.0.0.1', { lazyConnect: true, maxRetriesPerRequest: 1 })
    await redis.connect()
    driver = new Driver(new WaitingStore(redis))
    await driver.preload(keys)
  },
  run: (load: Load) => present(driver, 'the connection').run(load),
})
