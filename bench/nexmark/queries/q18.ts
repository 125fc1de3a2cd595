import { defineKey, row } from 'nearstate/stream'
import { type Bid, isBid } from '../events.ts'
import { rowOf, type Query } from './query.ts'

const Auction = defineKey('auction', 'int64')

/** The last bid of each bidder on each auction; of two at once the higher. */
export const q18: Query = events =>
  events
    .filter('bids', isBid)
    .keyBy('by auction', Auction, bid => bid.auction)
    .process('last bids', {
      emits: row<Bid>(),
      state: () => new Map<number, readonly [dateTime: number, price: number]>(),
      onEvent(ctx, bid) {
        const last = ctx.state.get(bid.bidder)
        if (last !== undefined && (bid.dateTime < last[0] || (bid.dateTime === last[0] && bid.price <= last[1]))) return
        ctx.state.set(bid.bidder, [bid.dateTime, bid.price])
        ctx.emit(bid)
      },
    })
    .map('rows', bid => rowOf(`${bid.auction} ${bid.bidder}`, bid.auction, bid.bidder, bid.price, bid.dateTime))
