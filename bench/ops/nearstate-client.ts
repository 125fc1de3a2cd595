import { connect } from '../../src/client/connect.ts'
import { present } from '../../src/base/assert.ts'
import { serveSide } from '../rounds.ts'
import { Driver, type Load } from './load.ts'

let driver: Driver | undefined

serveSide({
  connect: async ({ endpoint, keys }: { readonly endpoint: string; readonly keys: number }) => {
    const grid = await connect({ endpoints: [endpoint], requestTimeout: '30s' })
    driver = new Driver(grid.map('ops'))
    await driver.preload(keys)
  },
  run: (load: Load) => present(driver, 'the connection').run(load),
})
