import { describe, expect, it } from 'vitest'
import type { ProcessSpec } from '../../../../src/streaming/graph/stage-types.ts'
import { ProcessOperator } from '../../../../src/streaming/operators/process.ts'
import { type Event, type Make, partitionsOfRig, random, rig, Shard } from './rig.ts'

const counting: ProcessSpec<unknown, unknown, unknown, unknown> = {
  state: () => ({ n: 0 }),
  onEvent(ctx) {
    const state = ctx.state as { n: number }
    state.n += 1
    ctx.emit({ key: ctx.key, n: state.n })
  },
}
const make: Make = (unit, state) => new ProcessOperator(0, unit, counting, undefined, 'string', state, 80)

describe('process with a time to live', () => {
  it('forgets a key that had no event for so long, by event time', () => {
    const outputs: { row: unknown; time: number; key: unknown }[] = []
    const all = Array.from({ length: partitionsOfRig }, (_, partition) => partition)
    const shard = new Shard(make, 'deadLetter', undefined, all, outputs, [])
    const at = (time: number, key: string): Event => ({ key, time, row: {} })
    shard.feed([at(0, 'a'), at(0, 'b'), at(50, 'a')])
    // b ends between 80 and 90 ms after its event, a between 130 and 140.
    shard.advance(79, () => 9)
    shard.feed([at(80, 'b')])
    shard.advance(90, () => 9)
    shard.feed([at(91, 'a')])
    shard.advance(260, () => 9)
    shard.feed([at(261, 'a'), at(261, 'b')])
    expect(outputs.map(({ row }) => row)).toEqual([
      { key: 'a', n: 1 },
      { key: 'b', n: 1 },
      { key: 'a', n: 2 },
      { key: 'b', n: 2 },
      { key: 'a', n: 3 },
      { key: 'a', n: 1 },
      { key: 'b', n: 1 },
    ])
  })

  it('leaves nothing behind, whatever cuts, barriers and crashes', () => {
    for (let seed = 1; seed <= 10; seed += 1) {
      const next = random(seed)
      const events = Array.from({ length: 200 }, (_, i) => ({ key: `k${Math.floor(next() * 9)}`, time: i * 7, row: {} }))
      const { recordsLeft } = rig({ seed, events, make, crashShare: 0.03, barrierShare: 0.25 })
      expect(recordsLeft, `seed ${seed}`).toBe(0)
    }
  })
})
