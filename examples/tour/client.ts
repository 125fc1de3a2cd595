import { connect, defineKey } from 'nearstate'
import type { Profile } from './functions.ts'

const Customer = defineKey('profiles', 'string')

const grid = await connect({ endpoints: ['localhost:7400'] })
const profiles = grid.map<typeof Customer, Profile>('profiles', Customer)

await profiles.set('17850', { customerId: '17850', points: 10 }, { ttl: '30d' })
const points = await profiles.invoke<typeof import('./functions.ts').default>('17850', 'addPoints', { points: 5 })
console.log('points after invoke:', points)
console.log('profile:', await profiles.get('17850'))
console.log('entry:', await profiles.getEntry('17850'))
await grid.close()
