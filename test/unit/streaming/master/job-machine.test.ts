import { describe, expect, it } from 'vitest'
import { everyCheckpointRule } from '../../../../src/streaming/checkpoint/rules.ts'
import type { BarrierAnswer } from '../../../../src/streaming/checkpoint/task-checkpoint.ts'
import { type JobAction, JobMachine } from '../../../../src/streaming/master/job-machine.ts'
import { newRun, type RunRecord } from '../../../../src/streaming/master/record.ts'

const answer = (n: number, ended = false): BarrierAnswer => ({
  n,
  ended,
  bytes: 10,
  records: 1,
  alignMs: 0,
  writeMs: 0,
  commitMs: 0,
  stages: [],
})
const kinds = (actions: readonly JobAction[]): readonly string[] => actions.map(({ kind }) => kind)

/** A machine whose writes succeed at once, and that has `shards` shards which are ready at once, if asked so. */
class Driven {
  readonly machine: JobMachine
  record: RunRecord
  version = 1
  nowMs = 0
  seen: JobAction[] = []

  constructor(record: RunRecord = newRun('exactly-once'), rules = everyCheckpointRule) {
    this.record = record
    this.machine = new JobMachine(record, 'v1', 'master-1', { failuresMax: 3 }, rules)
  }

  /** Does what the machine asks of the coordinator and the shards, but for answers to barriers. */
  settle(): readonly JobAction[] {
    const done: JobAction[] = []
    for (let actions = this.machine.takeActions(); actions.length > 0; actions = this.machine.takeActions()) {
      for (const action of actions) {
        done.push(action)
        if (action.kind === 'cas') {
          expect(action.expected).toBe(`v${this.version}`)
          this.version += 1
          this.record = action.record
          this.machine.casAnswered({ kind: 'written', version: `v${this.version}` }, this.nowMs)
        } else if (action.kind === 'start') this.machine.ready(action.attempt, 2, this.nowMs)
        else if (action.kind === 'stop') this.machine.stopped(action.attempt, this.nowMs)
      }
    }
    this.seen.push(...done)
    return done
  }

  at(nowMs: number): readonly JobAction[] {
    this.nowMs = nowMs
    this.machine.tick(nowMs)
    return this.settle()
  }

  answerAll(n: number, ended = false): readonly JobAction[] {
    for (const shard of [0, 1]) this.machine.answered(this.record.attempt, shard, answer(n, ended), this.nowMs)
    return this.settle()
  }

  static running(): Driven {
    const driven = new Driven()
    driven.machine.begin()
    driven.settle()
    driven.answerAll(1)
    return driven
  }
}

describe('a job machine', () => {
  it('begins with a write of the attempt, then starts, runs, and asks for the first checkpoint at once', () => {
    const driven = new Driven()
    driven.machine.begin()
    expect(kinds(driven.settle())).toEqual(['cas', 'start', 'run', 'cas', 'barrier'])
    expect(driven.record).toMatchObject({ status: 'running', attempt: 1, checkpoint: 0, restore: { attempt: 0, n: 0 } })
    expect(driven.answerAll(1)).toEqual([
      expect.objectContaining({ kind: 'cas', record: expect.objectContaining({ checkpoint: 1 }) }),
      { kind: 'committed', attempt: 1, n: 1, isLast: false },
    ])
    expect(driven.machine.nextDeadlineMs).toBe(1000)
    expect(driven.at(1000)).toEqual([{ kind: 'barrier', attempt: 1, n: 2, c: 1 }])
  })

  it('takes answers of its own attempt only, of all shards, for the barrier under way', () => {
    const driven = Driven.running()
    driven.at(1000)
    driven.machine.answered(7, 0, answer(2), 1000)
    driven.machine.answered(1, 0, answer(1), 1000)
    driven.machine.answered(1, 0, answer(2), 1000)
    expect(driven.settle()).toEqual([])
    expect(driven.machine.barrier?.missing).toEqual([1])
  })

  it('restarts from the last checkpoint when a primary is lost, and keeps the restore point when nothing was committed', () => {
    const driven = Driven.running()
    driven.machine.lost(1, 'a node is gone', 1500)
    expect(kinds(driven.settle())).toEqual(['stop', 'cas', 'start', 'run', 'cas'])
    expect(driven.record).toMatchObject({ attempt: 2, checkpoint: 0, restore: { attempt: 1, n: 1 }, restarts: 1, status: 'running' })
    driven.machine.lost(2, 'again', 1600)
    expect(kinds(driven.settle())).toEqual(['stop'])
    driven.machine.tick(1700)
    driven.settle()
    expect(driven.record).toMatchObject({ attempt: 3, restore: { attempt: 1, n: 1 }, restarts: 2 })
  })

  it('sends a write of unknown outcome again with the same version, and knows its own when it finds it', () => {
    const driven = Driven.running()
    driven.at(1000)
    for (const shard of [0, 1]) driven.machine.answered(1, shard, answer(2), 1100)
    const [cas] = driven.machine.takeActions()
    driven.machine.casAnswered({ kind: 'unknown' }, 1100)
    driven.machine.tick(5000)
    expect(driven.machine.takeActions()).toEqual([cas])
    const mine = cas?.kind === 'cas' ? cas.record : undefined
    driven.machine.casAnswered({ kind: 'conflict', record: mine, version: 'v9' }, 5000)
    expect(kinds(driven.machine.takeActions())).toEqual(['committed', 'barrier'])
  })

  it('is deposed by a record that another master wrote', () => {
    const driven = Driven.running()
    driven.at(1000)
    for (const shard of [0, 1]) driven.machine.answered(1, shard, answer(2), 1100)
    driven.machine.takeActions()
    driven.machine.casAnswered({ kind: 'conflict', record: { ...driven.record, attempt: 2 }, version: 'v9' }, 1100)
    expect(kinds(driven.machine.takeActions())).toEqual(['deposed'])
    expect(driven.machine.nextDeadlineMs).toBe(Number.POSITIVE_INFINITY)
  })

  it('is deposed by a rival that began the same attempt from another restore point, though its record says the same', () => {
    const { record } = Driven.running()
    const slow = new JobMachine(record, 'v4', 'slow')
    slow.begin()
    const rival = new JobMachine({ ...record, checkpoint: 2 }, 'v5', 'rival')
    rival.begin()
    const [cas] = rival.takeActions()
    if (cas?.kind !== 'cas') throw new Error('the rival wrote nothing')
    expect(kinds(slow.takeActions())).toEqual(['cas'])
    slow.casAnswered({ kind: 'conflict', record: cas.record, version: 'v6' }, 100)
    expect(kinds(slow.takeActions())).toEqual(['deposed'])
  })

  it('gives a barrier up after its time, goes on with the next, and ends the attempt after three in a row', () => {
    const driven = Driven.running()
    driven.at(1000)
    expect(driven.at(11_000)).toEqual([{ kind: 'barrier', attempt: 1, n: 3, c: 1 }])
    expect(driven.at(21_000)).toEqual([{ kind: 'barrier', attempt: 1, n: 4, c: 1 }])
    driven.machine.waits('stage "slow" (its state is being written) on shard 2 of 3')
    driven.machine.waits('')
    expect(kinds(driven.at(31_000))).toEqual(['stop'])
    expect(kinds(driven.at(31_100))).toEqual(['cas', 'start', 'run', 'cas'])
    expect(driven.record.failure?.message).toMatch(/3 checkpoints in a row.*waited for stage "slow"/)
  })

  it('waits longer after each failure, and fails the job after its limit with the cause on the record', () => {
    const driven = Driven.running()
    driven.nowMs = 2000
    driven.machine.failed(1, { message: 'broken', stage: 'b' }, 2000)
    expect(kinds(driven.settle())).toEqual(['stop'])
    expect(driven.machine.nextDeadlineMs).toBe(2100)
    driven.at(2100)
    driven.machine.failed(2, { message: 'broken', stage: 'b' }, 2100)
    driven.settle()
    expect(driven.machine.nextDeadlineMs).toBe(2300)
    driven.at(2300)
    driven.machine.failed(3, { message: 'broken for good', stage: 'b' }, 2500)
    expect(kinds(driven.settle())).toEqual(['stop', 'cas', 'ended'])
    expect(driven.record).toMatchObject({ status: 'failed', failure: { message: 'broken for good', stage: 'b' }, checkpoint: 0 })
  })

  it('suspends after a last checkpoint, and resumes as a new attempt from it', () => {
    const driven = Driven.running()
    driven.nowMs = 1200
    driven.machine.suspend(1200)
    expect(driven.settle()).toEqual([{ kind: 'barrier', attempt: 1, n: 2, c: 1 }])
    expect(kinds(driven.answerAll(2))).toEqual(['cas', 'committed', 'stop', 'cas', 'ended'])
    expect(driven.record).toMatchObject({ status: 'suspended', checkpoint: 2 })
    driven.machine.resume()
    driven.settle()
    expect(driven.record).toMatchObject({ status: 'running', attempt: 2, restore: { attempt: 1, n: 2 } })
  })

  it('stands still for a move after a last checkpoint, and goes on when released', () => {
    const driven = Driven.running()
    driven.machine.holdForMove(1200)
    driven.settle()
    expect(kinds(driven.answerAll(2))).toEqual(['cas', 'committed', 'stop', 'held'])
    driven.machine.release()
    driven.settle()
    expect(driven.record).toMatchObject({ attempt: 2, restore: { attempt: 1, n: 2 } })
  })

  it('is completed when all shards had ended before the last checkpoint and say that they are done', () => {
    const driven = Driven.running()
    driven.at(1000)
    expect(driven.answerAll(2, true)).toContainEqual({ kind: 'committed', attempt: 1, n: 2, isLast: true })
    expect(driven.machine.nextDeadlineMs).toBe(Number.POSITIVE_INFINITY)
    driven.machine.completed(1, 0, 1100)
    driven.machine.completed(1, 1, 1100)
    expect(kinds(driven.settle())).toEqual(['stop', 'cas', 'ended'])
    expect(driven.record.status).toBe('completed')
  })

  it('says that a savepoint is whole when all shards have copied it, and that it failed with its attempt', () => {
    const driven = Driven.running()
    expect(driven.machine.savepoint('v1', 1100)).toBe(true)
    expect(driven.settle()).toEqual([{ kind: 'barrier', attempt: 1, n: 2, c: 1 }])
    expect(driven.answerAll(2)).toContainEqual({ kind: 'savepoint', attempt: 1, n: 2, name: 'v1' })
    driven.machine.savepointAnswered(1, 0, 'v1', undefined)
    expect(driven.settle()).toEqual([])
    driven.machine.savepointAnswered(1, 1, 'v1', undefined)
    expect(driven.settle()).toEqual([{ kind: 'savepointEnded', name: 'v1', point: { attempt: 1, n: 2 }, failure: undefined }])
    driven.machine.savepoint('v2', 1200)
    driven.machine.lost(1, 'gone', 1300)
    expect(driven.settle()).toContainEqual(expect.objectContaining({ kind: 'savepointEnded', name: 'v2', failure: expect.any(String) }))
  })

  it('makes a savepoint of no barrier that was under way when it was asked for', () => {
    const driven = Driven.running()
    driven.machine.tick(5000)
    expect(driven.settle()).toEqual([{ kind: 'barrier', attempt: 1, n: 2, c: 1 }])
    expect(driven.machine.savepoint('v1', 5001)).toBe(true)
    expect(driven.settle()).toEqual([])
    expect(kinds(driven.answerAll(2))).not.toContain('savepoint')
    driven.machine.tick(5002)
    expect(driven.answerAll(3)).toContainEqual({ kind: 'savepoint', attempt: 1, n: 3, name: 'v1' })
  })

  it('fails a job whose failure always follows a checkpoint, but forgets failures before an attempt that was sound', () => {
    const driven = Driven.running()
    const fail = (): void => {
      driven.machine.failed(driven.record.attempt, { message: 'broken' }, driven.nowMs)
      driven.settle()
    }
    fail()
    driven.at(100)
    driven.at(1100)
    driven.answerAll(1)
    fail()
    driven.at(1300)
    driven.at(2300)
    driven.answerAll(1)
    // Sound: a checkpoint more than a minute after it began to run.
    driven.at(62_000)
    driven.answerAll(2)
    fail()
    expect(driven.record.status).toBe('running')
    driven.at(62_100)
    driven.at(63_100)
    driven.answerAll(1)
    fail()
    driven.at(63_300)
    driven.at(64_300)
    driven.answerAll(1)
    fail()
    expect(driven.record).toMatchObject({ status: 'failed', failure: { message: 'broken' } })
  })

  it('goes on when it is released before it has come to stand still', () => {
    const driven = new Driven()
    driven.machine.begin()
    driven.machine.takeActions()
    driven.machine.casAnswered({ kind: 'written', version: 'v2' }, 0)
    driven.version = 2
    driven.machine.takeActions()
    driven.machine.holdForMove(10)
    expect(kinds(driven.machine.takeActions())).toEqual(['stop'])
    driven.machine.release()
    driven.machine.stopped(1, 20)
    expect(kinds(driven.settle())).toEqual(['cas', 'start', 'run', 'cas', 'barrier'])
  })

  it('is suspended though partitions are to move meanwhile, and when it stands still for that, or has just failed', () => {
    const both = Driven.running()
    both.machine.suspend(1200)
    both.machine.holdForMove(1201)
    both.settle()
    both.answerAll(2)
    expect(both.record.status).toBe('suspended')
    const held = Driven.running()
    held.machine.holdForMove(1200)
    held.settle()
    held.answerAll(2)
    held.machine.suspend(1300)
    expect(kinds(held.settle())).toEqual(['cas', 'ended'])
    expect(held.record.status).toBe('suspended')
    const failed = Driven.running()
    failed.machine.failed(1, { message: 'broken' }, 1200)
    failed.machine.suspend(1200)
    failed.settle()
    expect(failed.record.status).toBe('suspended')
  })

  it('is cancelled when that is asked for while its suspension is being written', () => {
    const driven = Driven.running()
    driven.machine.suspend(1200)
    driven.settle()
    for (const shard of [0, 1]) driven.machine.answered(1, shard, answer(2), 1200)
    driven.machine.takeActions()
    driven.version += 1
    driven.machine.casAnswered({ kind: 'written', version: `v${driven.version}` }, 1200)
    driven.machine.takeActions()
    driven.machine.stopped(1, 1200)
    driven.machine.cancel(1200)
    expect(kinds(driven.settle())).toEqual(['cas', 'cas', 'ended'])
    expect(driven.record.status).toBe('cancelled')
  })

  it('cancels in every state, after the tasks have stopped', () => {
    const driven = Driven.running()
    driven.machine.cancel(1200)
    expect(kinds(driven.settle())).toEqual(['stop', 'cas', 'ended'])
    const fresh = new Driven()
    fresh.machine.begin()
    fresh.machine.cancel(1)
    expect(kinds(fresh.settle())).toEqual(['cas', 'cas', 'ended'])
    expect(fresh.record.status).toBe('cancelled')
  })

  it('starts a job without checkpoints anew when it loses a node before it runs', () => {
    const driven = new Driven(newRun('none'))
    driven.machine.begin()
    expect(kinds(driven.machine.takeActions())).toEqual(['cas'])
    driven.version += 1
    driven.machine.casAnswered({ kind: 'written', version: `v${driven.version}` }, 1)
    expect(kinds(driven.machine.takeActions())).toEqual(['start'])
    driven.machine.lost(1, 'partitions move', 10)
    expect(kinds(driven.settle())).toEqual(['stop', 'cas', 'start', 'run', 'cas'])
    expect(driven.record).toMatchObject({ status: 'running', attempt: 2, restarts: 0 })
  })

  it('fails a job without checkpoints when it loses a node, and completes it when its shards have', () => {
    const driven = new Driven(newRun('none'))
    driven.machine.begin()
    expect(kinds(driven.settle())).toEqual(['cas', 'start', 'run', 'cas'])
    expect(driven.machine.nextDeadlineMs).toBe(Number.POSITIVE_INFINITY)
    driven.machine.lost(1, 'a node is gone', 10)
    driven.settle()
    expect(driven.record).toMatchObject({ status: 'failed', failure: { message: 'a node is gone' } })
  })
})
