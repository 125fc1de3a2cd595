import { query } from '../query.ts'
import { winningBids } from './winning-bids.ts'

/** The winning bid of each closed auction. */
export const q9 = query(winningBids, ({ auction, bidder, price, dateTime }) => [auction, bidder, price, dateTime])
