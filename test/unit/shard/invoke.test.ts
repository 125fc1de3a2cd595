import { beforeEach, describe, expect, test } from 'vitest'
import { OperationKind, ScanPage } from '../../../src/wire/generated/nearstate/v1/data.ts'
import { decodeValue } from '../../../src/wire/value-codec.ts'
import { keyIn, type TestClient, World } from './fixture.ts'

const { GET, GET_ENTRY, SET, INVOKE, INVOKE_ALL, EXPIRE } = OperationKind

const functions = `
const { defineFunctions } = require('nearstate/functions')
let kept
exports.default = defineFunctions({
  add: (entry, args) => { const sum = (entry.get() ?? 0) + args; entry.set(sum); return sum },
  keep: entry => { kept = entry; return entry.version },
  useKept: () => kept.set(1),
  remove: entry => { entry.delete(); return entry.get() === undefined },
  fail: () => { throw new TypeError('no such tier') },
  forAnHour: entry => entry.set(1, { ttl: '1h' }),
  badTtl: entry => entry.set(1, { ttl: '5 parsecs' }),
  large: entry => entry.set('x'.repeat(6000000)),
  mutate: entry => { const value = entry.get(); value.push(1); return value.length },
  key: entry => entry.key,
  unstorable: () => () => 1,
  replaceAndTell: (entry, length) => { entry.set('new'); return 'x'.repeat(length) },
})
`

let world: World
let client: TestClient

beforeEach(async () => {
  world = new World()
  client = world.one.connect()
  const bundle = {
    hash: 'h'.repeat(64),
    code: Buffer.from(functions),
    sourceMap: Buffer.from('{"version":3,"sources":[],"names":[],"mappings":""}'),
  }
  await world.one.ask({ kind: 'loadFunctions', file: 'functions.ts', bundle })
})

describe('invoke', () => {
  test('reads, writes and answers; a missing entry is undefined', () => {
    expect(client.value(client.call(INVOKE, 'm', 'a', 5, { function: 'add' }))).toBe(5)
    expect(client.value(client.call(INVOKE, 'm', 'a', 2, { function: 'add' }))).toBe(7)
    expect(client.value(client.call(GET, 'm', 'a'))).toBe(7)
    expect(client.value(client.call(INVOKE, 'm', 'a', null, { function: 'key' }))).toBe('a')
    expect(client.value(client.call(INVOKE, 'm', 'a', null, { function: 'remove' }))).toBe(true)
    expect(client.call(GET, 'm', 'a').status).toBe('absent')
  })

  test('keeps its place among operations of its pipe on the key', () => {
    const ids = [
      client.add(SET, 'm', 'a', 1),
      client.add(INVOKE, 'm', 'a', 10, { function: 'add' }),
      client.add(INVOKE, 'm', 'a', 100, { function: 'add' }),
      client.add(GET, 'm', 'a'),
      client.add(SET, 'm', 'a', 0),
      client.add(INVOKE, 'm', 'a', 1, { function: 'add' }),
    ]
    client.flush()
    world.later.run()
    expect(ids.map(id => client.value(client.answer(id)))).toEqual([undefined, 11, 111, 111, undefined, 1])
  })

  test('what it threw is FUNCTION_FAILED with its message, and the entry is as it was', () => {
    client.call(SET, 'm', 'a', 1)
    const { detail } = client.call(INVOKE, 'm', 'a', null, { function: 'fail' })
    expect(detail).toMatchObject({ errorCode: 'FUNCTION_FAILED', errorMessage: 'Function "fail" failed: no such tier' })
    expect(detail?.functionStack).toContain('TypeError: no such tier')
    expect(client.value(client.call(GET, 'm', 'a'))).toBe(1)
  })

  test('a result above the limit of values is refused, and nothing is stored', () => {
    client.call(SET, 'm', 'a', 'old')
    const { detail } = client.call(INVOKE, 'm', 'a', 6_000_000, { function: 'replaceAndTell' })
    expect(detail).toMatchObject({ errorCode: 'FUNCTION_FAILED' })
    expect(detail?.errorMessage).toContain('its result is 6000005 bytes, limit is')
    expect(client.value(client.call(GET, 'm', 'a'))).toBe('old')
  })

  test('an unknown function, an unstorable result and a bad ttl are typed errors', () => {
    const codeOf = (name: string): string | undefined => client.call(INVOKE, 'm', 'a', null, { function: name }).detail?.errorCode
    expect(codeOf('nobody')).toBe('NOT_FOUND')
    expect(world.asks).toHaveLength(0)
    expect(codeOf('unstorable')).toBe('FUNCTION_FAILED')
    expect(codeOf('badTtl')).toBe('FUNCTION_FAILED')
    expect(codeOf('large')).toBe('INVALID_ARGUMENT')
  })

  test('an entry that a function kept is dead after its call', () => {
    client.call(INVOKE, 'm', 'a', null, { function: 'keep' })
    expect(client.call(INVOKE, 'm', 'b', null, { function: 'useKept' }).detail?.errorMessage).toContain('its function has returned')
  })

  test('changing the value that it read stores nothing', () => {
    client.call(SET, 'm', 'a', [])
    expect(client.value(client.call(INVOKE, 'm', 'a', null, { function: 'mutate' }))).toBe(1)
    expect(client.value(client.call(GET, 'm', 'a'))).toEqual([])
  })

  test('keeps the expiry of its entry unless it sets one', () => {
    client.call(SET, 'm', 'a', 1)
    client.call(EXPIRE, 'm', 'a', undefined, { ttlMs: 500n })
    client.call(INVOKE, 'm', 'a', 1, { function: 'add' })
    const expiresAt = (): bigint | undefined => client.call(GET_ENTRY, 'm', 'a').detail?.expiresAtMs
    expect(expiresAt()).toBe(BigInt(world.clock.wallTimeMs() + 500))
    client.call(INVOKE, 'm', 'a', null, { function: 'forAnHour' })
    expect(expiresAt()).toBe(BigInt(world.clock.wallTimeMs() + 3_600_000))
  })

  test('a client that goes away while its call waits gets nothing, and the call counts as ended', async () => {
    client.add(INVOKE, 'm', 'a', 1, { function: 'add' })
    client.flush()
    client.pipe.closed()
    world.later.run()
    expect(client.answers.size).toBe(0)
    world.timeStandsStill = true
    await world.one.ask({ kind: 'stop', graceMs: 1 })
  })

  test('a call whose partition leaves before it runs is not run here', () => {
    client.call(SET, 'm', 'a', 1)
    const id = client.add(INVOKE, 'm', 'a', 1, { function: 'add' })
    client.flush()
    world.publish(() => undefined)
    world.later.run()
    expect(client.answer(id).detail?.errorCode).toBe('PARTITION_LOST')
  })
})

describe('invokeAll', () => {
  const page = (bytes: Buffer): [string, unknown][] => {
    const { keyLengths, keys, valueLengths, values } = ScanPage.decode(bytes)
    let keyAt = 0
    let valueAt = 0
    return keyLengths.map((length, i) => {
      const key = keys.toString('utf8', keyAt, (keyAt += length))
      return [key, decodeValue(values, valueAt, (valueAt += valueLengths[i] as number))]
    })
  }

  test('calls the function on every entry of the partition', () => {
    const expected: [string, unknown][] = []
    for (let n = 0; n < 600; n += 1) {
      client.add(SET, 'm', keyIn(2, n), n)
      expected.push([keyIn(2, n), n + 1])
    }
    client.flush()
    world.later.run()
    const answer = client.call(INVOKE_ALL, 'm', undefined, 1, { partition: 2, function: 'add' })
    expect(new Map(page(answer.bytes))).toEqual(new Map(expected))
    expect(ScanPage.decode(answer.bytes).cursor).toHaveLength(0)
    expect(client.value(client.call(GET, 'm', keyIn(2, 7)))).toBe(8)
  })

  test('with a limit it goes on from the cursor', () => {
    for (let n = 0; n < 10; n += 1) client.call(SET, 'm', keyIn(2, n), n)
    let cursor = Buffer.alloc(0)
    let called = 0
    do {
      const { bytes } = client.call(INVOKE_ALL, 'm', undefined, 1, { partition: 2, function: 'add', limit: 3, cursor })
      called += page(bytes).length
      cursor = ScanPage.decode(bytes).cursor as typeof cursor
    } while (cursor.length > 0)
    expect(called).toBe(10)
  })

  test('large results come in several pages', () => {
    for (let n = 0; n < 9; n += 1) client.call(SET, 'm', keyIn(2, n), 'old')
    let cursor = Buffer.alloc(0)
    const seen: string[] = []
    let pages = 0
    do {
      const { bytes } = client.call(INVOKE_ALL, 'm', undefined, 3_000_000, { partition: 2, function: 'replaceAndTell', cursor })
      expect(bytes.length).toBeLessThan(10_000_000)
      seen.push(...page(bytes).map(([key]) => key))
      cursor = ScanPage.decode(bytes).cursor as typeof cursor
      pages += 1
    } while (cursor.length > 0)
    expect(new Set(seen).size).toBe(9)
    expect(seen).toHaveLength(9)
    expect(pages).toBeGreaterThan(3)
  })

  test('calls of a client that has gone do not run', () => {
    client.call(SET, 'm', 'a', 1)
    const other = world.one.connect()
    other.add(INVOKE, 'm', 'a', 10, { function: 'add' })
    other.flush()
    other.pipe.closed()
    world.later.run()
    expect(client.value(client.call(GET, 'm', 'a'))).toBe(1)
  })

  test('on a map that is not there answers an empty page; a function that fails ends it', () => {
    expect(page(client.call(INVOKE_ALL, 'none', undefined, 1, { partition: 2, function: 'add' }).bytes)).toEqual([])
    client.call(SET, 'm', keyIn(2), 1)
    expect(client.call(INVOKE_ALL, 'm', undefined, 1, { partition: 2, function: 'fail' }).detail?.errorCode).toBe('FUNCTION_FAILED')
  })
})
