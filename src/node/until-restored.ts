/** A cluster that was stopped as a whole comes back node by node: nobody says that he serves while partitions wait for the mirrors of others. */
import { availabilityOf } from '../membership/replica-transitions.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { ViewFeed } from './view-feed.ts'

/** Then the rest is served all the same; who is missing may not come. */
const waitMaxMs = 15_000
const tellAfterMs = 5000

export async function untilRestored(feed: ViewFeed, log: Logger): Promise<void> {
  const deadline = new AbortController()
  const end = setTimeout(() => deadline.abort(), waitMaxMs)
  const tell = setInterval(() => log.warn('partitions wait for nodes that held them at last', { partitions: missing(feed) }), tellAfterMs)
  try {
    while (missing(feed) > 0 && !feed.stopped && !deadline.signal.aborted) await feed.next(deadline.signal)
    if (missing(feed) > 0 && !feed.stopped) {
      log.warn(
        'partitions are not served, since no copy of them is sure to be the last; bring the missing nodes back, or see `nearstate partitions recover`',
        {
          partitions: missing(feed),
        },
      )
    }
  } finally {
    clearTimeout(end)
    clearInterval(tell)
  }
}

function missing({ view }: ViewFeed): number {
  const state = view?.state
  return state === undefined ? 0 : state.partitions.filter(record => availabilityOf(state, record) !== 'available').length
}
