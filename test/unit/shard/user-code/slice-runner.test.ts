import { describe, expect, it } from 'vitest'
import { callCellOver, createCallCell, currentCall, currentTurn, markForStop } from '../../../../src/shard/user-code/call-cell.ts'
import { Quarantine } from '../../../../src/shard/user-code/quarantine.ts'
import { SliceRunner } from '../../../../src/shard/user-code/slice-runner.ts'
import { ThrownSnapshot } from '../../../../src/shard/user-code/thrown.ts'

/** Stands for a termination: unwinds every frame, which here means that nobody but the driver may catch it. */
class Termination extends Error {}

function setUp() {
  const cell = callCellOver(createCallCell())
  const quarantine = new Quarantine(3)
  const events: string[] = []
  const turns: (() => void)[] = []
  let nowMs = 0
  let woken = 0
  const runner = new SliceRunner({
    cell,
    quarantine,
    nowMs: () => nowMs,
    sliceMaxMs: 1,
    timeLimitMs: 250,
    wake: () => (woken += 1),
    afterTurn: callback => turns.push(callback),
    onCutOff: () => events.push('made anew'),
    lost: message => {
      throw new Error(message)
    },
  })
  const schedule = (label: string, run: () => void = () => undefined, stopCounts = true): void =>
    runner.schedule({
      label,
      run: () => {
        events.push(`run ${label}`)
        run()
      },
      finish: () => events.push(`finish ${label} ${currentCall(cell)}`),
      failed: thrown => events.push(`failed ${label} ${thrown instanceof ThrownSnapshot ? thrown.message : 'not a snapshot'}`),
      stopCounts,
      stopped: (message, quarantined) => events.push(`stopped ${label}: ${message}${quarantined ? ' (quarantined)' : ''}`),
    })
  /** One turn of the event loop: the message, if one was asked for, then what was booked behind it. */
  const turn = (): void => {
    if (woken > 0) {
      woken -= 1
      runner.slice()
    }
    for (const callback of turns.splice(0)) callback()
  }
  return { cell, quarantine, events, runner, schedule, turn, wakes: () => woken, pass: (ms: number) => (nowMs += ms) }
}

describe('SliceRunner', () => {
  it('runs tasks in order, each finished before the next, with its number set only while user code runs', () => {
    const t = setUp()
    const numbers: number[] = []
    t.schedule('a', () => numbers.push(currentCall(t.cell)))
    t.schedule('b', () => numbers.push(currentCall(t.cell)))
    expect(t.wakes()).toBe(1)
    t.turn()
    expect(t.events).toEqual(['run a', 'finish a 0', 'run b', 'finish b 0'])
    expect(new Set(numbers).size).toBe(2)
    expect(Math.min(...numbers)).toBeGreaterThan(0)
    expect(t.runner.backlog).toBe(0)
  })

  it('knows whose job is at work: while its task runs with the stage, and in the microtasks behind while it is only one', () => {
    const t = setUp()
    const task = (label: string, job?: string): void =>
      t.runner.schedule({
        label,
        ...(job === undefined ? {} : { job }),
        run: () => t.events.push(JSON.stringify(t.runner.jobAtWork) ?? 'nobody'),
        finish: () => undefined,
        failed: () => undefined,
        stopped: () => undefined,
      })
    const slice = (): void => {
      t.events.length = 0
      t.runner.slice()
    }
    const end = (): void => {
      t.runner.settle()
      expect(t.runner.jobAtWork).toBeUndefined()
    }
    task('spend/first', 'spend')
    task('spend/second', 'spend')
    slice()
    expect(t.events).toEqual(['{"job":"spend","stage":"first"}', '{"job":"spend","stage":"second"}'])
    expect(t.runner.jobAtWork).toEqual({ job: 'spend' })
    end()
    task('spend/first', 'spend')
    task('some function')
    slice()
    expect(t.events).toEqual(['{"job":"spend","stage":"first"}', 'nobody'])
    expect(t.runner.jobAtWork).toBeUndefined()
    end()
  })

  it('ends a slice after 1 ms and asks for the next only when the event loop has come round', () => {
    const t = setUp()
    t.schedule('a', () => t.pass(2))
    t.schedule('b')
    t.runner.slice()
    expect(t.events).toEqual(['run a', 'finish a 0'])
    expect(t.runner.backlog).toBe(1)
    t.turn()
    expect(t.events).toHaveLength(2)
    t.turn()
    expect(t.events).toHaveLength(4)
  })

  it('tells the control thread from the slice until the end of its turn', () => {
    const t = setUp()
    t.schedule('a')
    t.runner.slice()
    expect(currentTurn(t.cell)).toBeGreaterThan(0)
    expect(t.runner.inTurn).toBe(true)
    t.turn()
    expect(currentTurn(t.cell)).toBe(0)
    expect(t.runner.inTurn).toBe(false)
  })

  it('hands over what a task threw as a snapshot, and goes on', () => {
    const t = setUp()
    t.schedule('a', () => {
      throw new TypeError('wrong')
    })
    t.schedule('b')
    t.turn()
    expect(t.events).toEqual(['run a', 'failed a wrong', 'run b', 'finish b 0'])
  })

  it('answers a task that was cut off in the turn after, then runs the others', () => {
    const t = setUp()
    t.schedule('a', () => {
      expect(markForStop(t.cell, currentCall(t.cell))).toBe(true)
      throw new Termination()
    })
    t.schedule('b')
    // The double cannot skip the runner's own catch, so what is left on the stack is the wait for a termination that is already over.
    expect(() => cutOff(t)).toThrow(Termination)
    expect(t.events).toEqual(['run a'])
    t.turn()
    expect(t.events[1]).toBe('made anew')
    expect(t.events[2]).toMatch(/^stopped a: a was stopped: it ran for longer than userCodeTimeLimit, 250 ms/)
    expect(currentCall(t.cell)).toBe(0)
    t.turn()
    expect(t.events.slice(3)).toEqual(['run b', 'finish b 0'])
    expect(t.runner.stopCount).toBe(1)
  })

  it('quarantines a label at the third stop that counts', () => {
    const t = setUp()
    const loop = (): void => {
      markForStop(t.cell, currentCall(t.cell))
      throw new Termination()
    }
    for (const counts of [true, false, true, false, true]) {
      t.schedule('a', loop, counts)
      expect(() => cutOff(t)).toThrow(Termination)
      t.turn()
    }
    const stops = t.events.filter(event => event.startsWith('stopped'))
    expect(stops.map(event => event.endsWith('(quarantined)'))).toEqual([false, false, false, false, true])
    expect(stops[4]).toContain('now quarantined, for this was the third time')
    expect(t.runner.stopCount).toBe(5)
  })

  it('refuses a quarantined label without running it', () => {
    const t = setUp()
    for (let i = 0; i < 3; i += 1) t.quarantine.recordStop('a')
    t.schedule('a')
    t.schedule('b')
    t.turn()
    expect(t.events[0]).toMatch(/^stopped a: a is quarantined/)
    expect(t.events.slice(1)).toEqual(['run b', 'finish b 0'])
  })

  it('takes tasks that are scheduled while one runs or is answered', () => {
    const t = setUp()
    t.schedule('a', () => t.schedule('b'))
    t.turn()
    expect(t.events).toEqual(['run a', 'finish a 0', 'run b', 'finish b 0'])
    t.schedule('c')
    t.turn()
    expect(t.events).toHaveLength(6)
  })

  it('keeps order over many tasks', () => {
    const t = setUp()
    const seen: number[] = []
    for (let i = 0; i < 5000; i += 1) t.schedule('n', () => (seen.push(i), t.pass(0.01)))
    for (let i = 0; i < 100; i += 1) t.turn()
    expect(seen).toEqual(Array.from({ length: 5000 }, (_, i) => i))
  })
})

/** Runs the slice with Atomics.wait cut off, as a termination does it. */
function cutOff(t: ReturnType<typeof setUp>): void {
  const wait = Atomics.wait
  Atomics.wait = (() => {
    throw new Termination()
  }) as typeof Atomics.wait
  try {
    t.runner.slice()
  } finally {
    Atomics.wait = wait
  }
}
