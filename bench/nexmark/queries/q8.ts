import { tumbling } from 'nearstate/stream'
import { isAuction, isPerson } from '../events.ts'
import { PersonId } from '../keys.ts'
import { query } from '../query.ts'

/** Persons who opened an auction in the same 10 s in which they registered, once each. */
export const q8 = query(
  events => {
    const persons = events.filter('persons', isPerson).keyBy('by person', PersonId, person => person.id)
    const auctions = events.filter('auctions', isAuction).keyBy('by seller', PersonId, auction => auction.seller)
    return persons
      .joinWindow('in one window', auctions, { window: tumbling('10s') }, ({ id, name }, _, { windowStart }) => ({ id, name, windowStart }))
      .dedupe('once', { ttl: '10s' })
  },
  ({ id, name, windowStart }) => [id, name, windowStart],
)
