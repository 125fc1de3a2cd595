import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../src/base/clock.ts'
import { ClockGuard } from '../../../src/node/clock-guard.ts'

describe('the guard of the clock', () => {
  it('takes the grain of the time since boot for what it is', () => {
    const clock = new ManualClock(5000)
    const guard = new ClockGuard(clock, () => Math.floor((clock.nowMs() + 777) / 10) * 10)
    for (let look = 0; look < 200; look += 1) {
      clock.advance(13)
      expect(guard.hasSlept()).toBe(false)
    }
  })

  it('notices a sleep of 50 ms, once', () => {
    const clock = new ManualClock(5000)
    let sleptMs = 0
    const guard = new ClockGuard(clock, () => Math.floor((clock.nowMs() + sleptMs) / 10) * 10)
    clock.advance(250)
    expect(guard.hasSlept()).toBe(false)
    sleptMs = 50
    expect([guard.hasSlept(), guard.hasSlept()]).toEqual([true, false])
  })

  it('is not misled by a pause of its own thread', () => {
    const clock = new ManualClock(5000)
    let pauseMs = 0
    const guard = new ClockGuard(clock, () => {
      const boot = clock.nowMs()
      clock.advance(pauseMs)
      return boot
    })
    pauseMs = 400
    expect(guard.hasSlept()).toBe(false)
    pauseMs = 0
    expect(guard.hasSlept()).toBe(false)
  })

  it('says nothing where there is no time since boot', () => {
    expect(new ClockGuard(new ManualClock(), () => undefined).hasSlept()).toBe(false)
  })
})
