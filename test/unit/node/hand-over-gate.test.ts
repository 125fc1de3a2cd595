import { describe, expect, it } from 'vitest'
import { HandOverGate } from '../../../src/node/hand-over-gate.ts'

/** Jobs that stand still when `stand` is called. */
class Jobs {
  canHold = true
  holds = 0
  releases = 0
  stand: () => void = () => {}
  holdForMove(): Promise<void> {
    this.holds += 1
    return new Promise(resolve => {
      this.stand = resolve
    })
  }
  release(): void {
    this.releases += 1
  }
}

class TestWorld {
  opened = 0
  nowMs = 0
  readonly gate: HandOverGate

  constructor(jobs: Jobs) {
    const onOpen = (): void => {
      this.opened += 1
    }
    this.gate = new HandOverGate({ nowMs: () => this.nowMs, wallTimeMs: () => 0 }, jobs, onOpen)
  }
}

const settled = async (): Promise<void> => {
  for (let i = 0; i < 5; i += 1) await Promise.resolve()
}

describe('the gate of planned hand-overs', () => {
  it('is open where no job would lose anything', () => {
    const jobs = new Jobs()
    jobs.canHold = false
    const { gate } = new TestWorld(jobs)
    expect(gate.passes(3, true)).toBe(true)
    expect(gate.passes(0, true)).toBe(false)
    expect(jobs.holds).toBe(0)
  })

  it('waits for company, then until the jobs stand still, and lets them go when no order is left', async () => {
    const jobs = new Jobs()
    const world = new TestWorld(jobs)
    expect(world.gate.passes(1, true)).toBe(false)
    world.nowMs = 999
    expect(world.gate.passes(2, true)).toBe(false)
    expect(jobs.holds).toBe(0)
    world.nowMs = 1000
    expect(world.gate.passes(3, true)).toBe(false)
    expect(jobs.holds).toBe(1)
    expect(world.gate.passes(3, true)).toBe(false)
    jobs.stand()
    await settled()
    expect(world.opened).toBe(1)
    expect(world.gate.passes(3, true)).toBe(true)
    expect(world.gate.passes(1, true)).toBe(true)
    expect(jobs.releases).toBe(0)
    expect(world.gate.passes(0, true)).toBe(false)
    expect(jobs.releases).toBe(1)
  })

  it('makes the next batch wait for 10 s, unless every copy is made', async () => {
    const jobs = new Jobs()
    const world = new TestWorld(jobs)
    expect(world.gate.passes(1, false)).toBe(false)
    jobs.stand()
    await settled()
    world.gate.passes(0, true)
    world.nowMs = 5000
    expect(world.gate.passes(1, true)).toBe(false)
    expect(jobs.holds).toBe(1)
    world.nowMs = 9999
    world.gate.passes(1, true)
    expect(jobs.holds).toBe(1)
    world.nowMs = 10_000
    world.gate.passes(1, true)
    expect(jobs.holds).toBe(2)
  })

  it('does not hold jobs for orders that are never carried out', async () => {
    const jobs = new Jobs()
    const world = new TestWorld(jobs)
    world.gate.passes(1, false)
    jobs.stand()
    await settled()
    expect(world.gate.passes(1, false)).toBe(true)
    world.nowMs = 10_001
    world.gate.passes(1, true)
    expect(jobs.releases).toBe(1)
  })
})
