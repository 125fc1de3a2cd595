import { describe, expect, it } from 'vitest'
import { NearstateError } from '../../../../src/base/errors.ts'
import type { PositionMapper } from '../../../../src/bundling/position-mapper.ts'
import { snapshotOf } from '../../../../src/shard/user-code/thrown.ts'
import { mapStack } from '../../../../src/shard/user-code/user-stack.ts'

const mapper: PositionMapper = { map: (line, column) => (line === 99 ? undefined : { file: 'functions.ts', line: line + 100, column }) }

describe('mapStack', () => {
  it('maps frames of the bundle and leaves out all others', () => {
    const stack = [
      'TypeError: bad',
      '    at addPoints (nearstate-bundle:0af3:2:7)',
      '    at nearstate-bundle:0af3:3:1',
      '    at new Thing (nearstate-bundle:0af3:4:2)',
      '    at __require (nearstate-bundle:0af3:99:2)',
      '    at Object.call (file:///srv/nearstate/dist/shard/user-code/user-code.js:10:3)',
      '    at MessagePort.<anonymous> (node:internal/worker:1:1)',
    ].join('\n')
    expect(mapStack('TypeError: bad', stack, mapper)).toBe(
      [
        'TypeError: bad',
        '    at addPoints (functions.ts:102:7)',
        '    at functions.ts:103:1',
        '    at new Thing (functions.ts:104:2)',
      ].join('\n'),
    )
  })

  it('keeps at most 50 frames of any text', () => {
    const stack = '    at f (nearstate-bundle:0:1:1)\n'.repeat(10_000)
    expect(mapStack('x', stack, mapper).split('\n')).toHaveLength(51)
  })
})

describe('snapshotOf', () => {
  it.each([
    [null, 'threw null'],
    [undefined, 'threw undefined'],
    [7n, 'threw 7n'],
    ['text', 'threw "text"'],
    [Symbol('s'), 'threw Symbol(s)'],
    [{ a: 1 }, 'threw an object that is not an error: {"a":1}'],
    [{ message: 'like an error' }, 'like an error'],
    [Object.create(null), 'threw an object that is not an error: {}'],
  ])('reads %s', (thrown, message) => {
    expect(snapshotOf(thrown).message).toBe(message)
  })

  it('keeps name, message and the code of a NearstateError', () => {
    expect(snapshotOf(new RangeError('far'))).toMatchObject({ name: 'RangeError', message: 'far', code: undefined })
    expect(snapshotOf(new NearstateError('RESOURCE_EXHAUSTED', 'full'))).toMatchObject({ message: 'full', code: 'RESOURCE_EXHAUSTED' })
  })

  it('survives proxies, getters that throw and circular objects', () => {
    const hostile = new Proxy(
      {},
      {
        get: () => {
          throw new Error('get')
        },
        getPrototypeOf: () => {
          throw new Error('proto')
        },
      },
    )
    expect(snapshotOf(hostile).message).toBe('threw an object that is not an error')
    const circular: Record<string, unknown> = {}
    circular['self'] = circular
    expect(snapshotOf(circular).message).toBe('threw an object that is not an error')
  })

  it('cuts what is too long', () => {
    expect(snapshotOf(new Error('x'.repeat(1e6))).message.length).toBeLessThan(10_000)
  })

  it('leaves a snapshot as it is', () => {
    const snapshot = snapshotOf(new Error('once'))
    expect(snapshotOf(snapshot)).toBe(snapshot)
  })
})
