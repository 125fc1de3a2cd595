import { describe, expect, it } from 'vitest'
import { WatchdogJudge } from '../../../src/node/watchdog-judge.ts'

const judge = (): WatchdogJudge => new WatchdogJudge({ timeLimitMs: 250, blockedLooksMax: 100, turnLimitMs: 2500 })

describe('WatchdogJudge', () => {
  it('does nothing while nothing runs, or each look finds another call', () => {
    const it = judge()
    for (let i = 0; i < 5; i += 1) expect(it.look(0, 0)).toBe('fine')
    for (let i = 1; i < 5; i += 1) expect(it.look(i, i)).toBe('fine')
  })

  it('stops the same call when more CPU than the limit lies between two measurements', () => {
    const it = judge()
    expect(it.look(7, 3)).toBe('fine')
    expect(it.look(7, 3)).toBe('askCpu')
    expect(it.measured(7, 3, 1000)).toBe('fine')
    expect(it.look(7, 3)).toBe('askCpu')
    expect(it.measured(7, 3, 1250)).toBe('fine')
    expect(it.measured(7, 3, 1251)).toBe('stop')
  })

  it('counts from anew when the call changes, and ignores a measurement of an earlier one', () => {
    const it = judge()
    it.look(7, 3)
    it.look(7, 3)
    it.measured(7, 3, 1000)
    it.look(8, 3)
    expect(it.measured(7, 3, 9000)).toBe('fine')
    expect(it.look(8, 3)).toBe('askCpu')
    expect(it.measured(8, 3, 9000)).toBe('fine')
  })

  it('does not stop a call that the machine does not let run', () => {
    const it = judge()
    it.look(7, 3)
    for (let i = 0; i < 50; i += 1) {
      expect(it.look(7, 3)).toBe('askCpu')
      expect(it.measured(7, 3, 1000 + i)).toBe('fine')
    }
  })

  it('stops a call that waits without using CPU after many looks', () => {
    const it = judge()
    it.look(7, 3)
    const verdicts = Array.from({ length: 100 }, () => it.look(7, 3))
    expect(verdicts.indexOf('stop')).toBe(99)
  })

  it('leaves alone what is to be stopped already', () => {
    const it = judge()
    it.look(7, 3)
    it.look(7, 3)
    for (let i = 0; i < 200; i += 1) expect(it.look(-7, 3)).toBe('fine')
  })

  it('gives a shard up whose turn does not end though no call runs, at a higher limit', () => {
    const it = judge()
    it.look(0, 3)
    expect(it.look(0, 3)).toBe('askCpu')
    expect(it.measured(0, 3, 100)).toBe('fine')
    expect(it.measured(0, 3, 2600)).toBe('fine')
    expect(it.measured(0, 3, 2601)).toBe('giveUp')
  })
})
