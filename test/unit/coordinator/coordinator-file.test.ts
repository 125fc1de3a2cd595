import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CoordinatorFile } from '../../../src/coordinator/coordinator-file.ts'
import { EmbeddedCoordinator } from '../../../src/coordinator/embedded.ts'

const path = (): string => join(mkdtempSync(join(tmpdir(), 'nearstate-coordinator-')), 'deeper', 'coordinator.json')
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const open = (file: string): EmbeddedCoordinator => new EmbeddedCoordinator({ file: new CoordinatorFile(file) })

test('values are there after a restart with their versions, sessions are not', async () => {
  const file = path()
  const first = open(file)
  await first.compareAndSet('a', 0, bytes('1'))
  await first.openSession('sessions/x', bytes('s'), 1000)
  await first.compareAndSet('a', 1, bytes('2'))
  await first.compareAndSet('b', 0, bytes('gone'))
  await first.compareAndSet('b', 4, undefined)
  await first.close()
  const second = open(file)
  expect(await second.list('')).toEqual([{ key: 'a', value: bytes('2'), version: 3 }])
  expect(await second.compareAndSet('b', 0, bytes('again'))).toEqual({ kind: 'done', version: 5 })
  await second.close()
})

test('a change that cannot be written does not count', async () => {
  const coordinator = open('/dev/null/coordinator.json')
  await expect(coordinator.compareAndSet('a', 0, bytes('1'))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  expect(await coordinator.read('a')).toBeUndefined()
  await coordinator.close()
})

test('a file that cannot be read is refused', () => {
  const file = join(mkdtempSync(join(tmpdir(), 'nearstate-coordinator-')), 'coordinator.json')
  writeFileSync(file, '{ "format": 1')
  expect(() => open(file)).toThrow(/Cannot read the coordinator's file/)
  writeFileSync(file, '{ "format": 9 }')
  expect(() => open(file)).toThrow(/its format is 9/)
})
