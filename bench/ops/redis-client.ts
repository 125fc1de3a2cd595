import { Redis } from 'ioredis'
import { present } from '../../src/base/assert.ts'
import { serveSide } from '../rounds.ts'
import { Driver, type Load } from './load.ts'

let driver: Driver | undefined

serveSide({
  connect: async ({ port, keys }: { readonly port: number; readonly keys: number }) => {
    const redis = new Redis(port, '127.0.0.1', { enableAutoPipelining: true, lazyConnect: true, maxRetriesPerRequest: 1 })
    await redis.connect()
    driver = new Driver({ get: key => redis.getBuffer(key), set: (key, value) => redis.set(key, value) })
    await driver.preload(keys)
  },
  run: (load: Load) => present(driver, 'the connection').run(load),
})
