/**
 * When a customer has been silent for so long. Lines come in any order, as files are read side by side; a timer fires when every line up
 * to its time has been seen, whatever the order. So the times of lines wait in their own order, each until its silence would be due.
 */
import { row } from 'nearstate/stream'
import type { ProcessSpec } from 'nearstate/stream'
import { type Silence, timeOf } from './maps.ts'

/** Distinct times of a customer's lines, ascending, from the first that may begin a silence. */
type Waiting = number[]

export function silences(silenceMs: number): ProcessSpec<string, { readonly at: number }, Waiting, Silence> {
  return {
    emits: row<Silence>(),
    state: () => [],
    onEvent(ctx, { at }) {
      const waiting = ctx.state
      const place = placeOf(waiting, at)
      if (waiting[place] === at) return
      waiting.splice(place, 0, at)
      if (place === 0) ctx.setTimer('due', at + silenceMs)
    },
    onTimer(ctx) {
      ctx.state.shift()
      const [next] = ctx.state
      // A line at the very moment still breaks the silence.
      if (next === undefined || next > ctx.eventTimeMs) ctx.emit({ dueTime: timeOf(ctx.eventTimeMs) })
      if (next !== undefined) ctx.setTimer('due', next + silenceMs)
    },
  }
}

/** Of the first time that is not earlier. Most lines come last. */
function placeOf(times: readonly number[], time: number): number {
  let place = times.length
  while (place > 0 && (times[place - 1] as number) >= time) place -= 1
  return place
}
