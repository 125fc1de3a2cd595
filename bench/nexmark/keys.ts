/** The key spaces of the queries. */
import { defineKey, defineTupleKey } from 'nearstate/stream'

export const AuctionId = defineKey('auction', 'int64')
export const AuctionBidder = defineTupleKey('auction-bidder', AuctionId, { bidder: 'int64' })
export const PersonId = defineKey('person', 'int64')
export const Category = defineKey('category', 'int64')
/** The end of a window. */
export const WindowEnd = defineKey('window-end', 'int64')
export const Day = defineKey('day', 'string')
export const SideKey = defineKey('side', 'int64')
