import { count, defineJob, defineKey, files, sum } from 'nearstate/stream'
import { z } from 'zod'

const Customer = defineKey('customer', 'string')

const Order = z.object({
  orderId: z.string(),
  customerId: z.string().transform(id => (id === '' ? undefined : id)),
  amount: z.coerce.number(),
  at: z.iso.datetime().transform(text => Date.parse(text)),
})

const Args = z.object({ orders: z.string() })

/** A running total for each customer. A row that cannot be read is kept, with the reason, in `spend.dead-letters`; one without a customer is dropped and counted. */
export default defineJob('spend', { args: Args, onError: 'deadLetter' }, (flow, args) => {
  flow
    .source('orders', files({ path: args.orders, format: 'csv', row: Order }))
    .eventTime(order => order.at, { outOfOrderness: '5s' })
    .require('known customers', 'customerId')
    .keyBy('by customer', Customer, order => order.customerId)
    .aggregate('spend so far', { spend: sum(order => order.amount), orders: count() })
    .sink('to spend', flow.map('spend', Customer))
})
