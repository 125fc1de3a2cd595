/** The clients of the benchmark, in a process of their own: reads and writes over all partitions, see src/cli/ledger.ts. */
import { present } from '../../src/base/assert.ts'
import { Ledger } from '../../src/cli/ledger.ts'
import { connect } from '../../src/client/connect.ts'
import { serveSide } from '../rounds.ts'

let ledger: Ledger | undefined

serveSide({
  start: async ({ endpoints, clients, pauseMs }: { readonly endpoints: string[]; readonly clients: number; readonly pauseMs: number }) => {
    const grids = await Promise.all(Array.from({ length: clients }, () => connect({ endpoints, requestTimeout: '30s' })))
    const { partitionCount } = present(grids[0], 'a client').cluster.describe()
    ledger = new Ledger(grids, partitionCount, { map: 'failover', pauseMs })
    await ledger.start()
  },
  /** Half of the partitions with a gap worth the name, and the longest. */
  takeGaps: () => {
    const gaps = [...present(ledger, 'the load').takeGapsMs()].sort((a, b) => a - b)
    const felt = gaps.filter(gap => gap > 200)
    return { longestMs: gaps.at(-1) ?? 0, medianMs: felt[felt.length >> 1] ?? 0 }
  },
  stop: () => present(ledger, 'the load').stop(),
})
