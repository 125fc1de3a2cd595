import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../../src/config/load-config.ts'
import { openCoordinator } from '../../../src/node/open-coordinator.ts'
import type { Logger } from '../../../src/telemetry/logger.ts'

const folder = mkdtempSync(join(tmpdir(), 'nearstate-coordinator-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const told: string[] = []
const note = (message: string): void => void told.push(message)
const log: Logger = { debug: note, info: note, warn: note, error: note }
const open = (flags: Readonly<Record<string, string>>, env: Readonly<Record<string, string>> = {}) =>
  openCoordinator(loadConfig({ env: {}, flags }).config, log, env)

/** Nobody listens there. */
const nowhere = 'etcd://127.0.0.1:1'

describe('the coordinator that a configuration names', () => {
  it('is in this process', async () => {
    const coordinator = await open({ coordinator: 'embedded' })
    expect(coordinator.description).toBe('embedded')
    await coordinator.close()
  })

  it('is waited for when it cannot be reached', async () => {
    for (const address of [nowhere, 'embedded://127.0.0.1:1']) {
      told.length = 0
      const coordinator = await open({ coordinator: address })
      expect(told).toContain('the coordinator cannot be reached yet')
      await coordinator.close()
    }
  })

  it('needs the password of its user, from a file or the environment', async () => {
    await expect(open({ coordinator: nowhere, etcdUser: 'grid' })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/etcdUser grid.*etcdPasswordFile or NEARSTATE_ETCD_PASSWORD/) as unknown,
    })
    await (await open({ coordinator: nowhere, etcdUser: 'grid' }, { NEARSTATE_ETCD_PASSWORD: 'secret' })).close()
    const etcdPasswordFile = join(folder, 'password')
    await expect(open({ coordinator: nowhere, etcdUser: 'grid', etcdPasswordFile })).rejects.toThrow(/etcdPasswordFile .*ENOENT/)
    writeFileSync(etcdPasswordFile, 'secret\n')
    await (await open({ coordinator: nowhere, etcdUser: 'grid', etcdPasswordFile })).close()
  })

  it('needs certificates in PEM format', async () => {
    const etcdCa = join(folder, 'ca')
    writeFileSync(etcdCa, 'nonsense')
    await expect(open({ coordinator: 'etcds://127.0.0.1:1', etcdCa })).rejects.toThrow(/etcdCa .*PEM/)
  })
})
