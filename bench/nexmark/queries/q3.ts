import { row } from 'nearstate/stream'
import type { Auction, Person } from '../events.ts'
import { PersonId } from '../keys.ts'
import { query } from '../query.ts'

const states = ['OR', 'ID', 'CA']

interface Offer {
  readonly name: string
  readonly city: string
  readonly state: string
  readonly auction: number
}
type Seller = Omit<Offer, 'auction'>

interface State {
  /** Null: of another state. */
  seller: Seller | null | undefined
  /** Auctions that came before their seller. */
  waiting: readonly number[]
}

/** Who sells what of category 10 in Oregon, Idaho and California. */
export const q3 = query(
  events =>
    events
      .filter(
        'persons and auctions',
        (event): event is Person | Auction => event.kind === 'person' || (event.kind === 'auction' && event.category === 10),
      )
      .keyBy('by person', PersonId, event => (event.kind === 'person' ? event.id : event.seller))
      .process('join', {
        emits: row<Offer>(),
        state: (): State => ({ seller: undefined, waiting: [] }),
        onEvent(ctx, event) {
          const { seller, waiting } = ctx.state
          if (event.kind === 'person') {
            const { name, city, state } = event
            const found = states.includes(state) ? { name, city, state } : null
            ctx.state = { seller: found, waiting: [] }
            if (found !== null) for (const auction of waiting) ctx.emit({ ...found, auction })
          } else if (seller === undefined) {
            ctx.state = { seller, waiting: [...waiting, event.id] }
          } else if (seller !== null) {
            ctx.emit({ name: seller.name, city: seller.city, state: seller.state, auction: event.id })
          }
        },
      }),
  ({ name, city, state, auction }) => [name, city, state, auction],
)
