import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import { type DevProcess, isAlive, runCommand, startDev } from './command-line.ts'

// Real processes on a machine that may be busy: quick, but with patience.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 })

const markFunctions = `
import { defineFunctions, entryFunction } from 'nearstate/functions'
export default defineFunctions({ mark: entryFunction()(entry => { entry.set({ key: entry.key }); return entry.key }) })
`

const keys = Array.from({ length: 200 }, (_, i) => `key-${i}`)

describe('nearstate dev', () => {
  let dev: DevProcess
  let grid: Grid

  beforeAll(async () => {
    dev = await startDev(['--nodes', '3'])
    grid = await connect({ endpoints: dev.endpoints, requestTimeout: '10s' })
  })

  afterAll(async () => {
    await grid?.close()
    await dev?.stop()
  })

  it('says in one line where its nodes are', () => {
    expect(dev.endpoints).toHaveLength(3)
    expect(dev.nodes.map(node => node.name)).toEqual(['node-1', 'node-2', 'node-3'])
    for (const node of dev.nodes) expect(isAlive(node.pid)).toBe(true)
  })

  it('serves the same entries through every node, and tells its state', async () => {
    await grid.map('people').setAll(keys.map(key => [key, { key }] as const))
    const [status, ...entries] = await Promise.all([
      runCommand(['status', '--json', '--endpoint', dev.endpoints[0] ?? '']),
      ...dev.endpoints.map(endpoint => runCommand(['map', 'get', 'people', 'key-7', '--json', '--endpoint', endpoint])),
    ])
    const scan = await runCommand(['map', 'scan', 'people', '--json', '--limit', '3', '--endpoint', dev.endpoints[0] ?? ''])
    expect(scan).toMatchObject({ code: 0, stderr: '' })
    const lines = scan.stdout.trimEnd().split('\n')
    expect(lines).toHaveLength(3)
    for (const line of lines) {
      const key = expect.stringMatching(/^key-/) as string
      expect(JSON.parse(line)).toEqual({ key, value: { key }, version: expect.any(Number), expiresAt: null })
    }
    expect(JSON.parse(status?.stdout ?? '')).toMatchObject({
      cluster: 'nearstate',
      state: 'healthy',
      nodes: 3,
      partitions: { total: 240, underReplicated: 0, migrating: 0, unavailable: 0, lost: 0 },
      leader: expect.any(String),
      coordinator: expect.stringContaining('embedded'),
      entries: keys.length,
      bytes: expect.any(Number),
    })
    for (const entry of entries) {
      expect(entry).toMatchObject({ code: 0, stderr: '' })
      expect(JSON.parse(entry.stdout)).toEqual({ key: 'key-7', value: { key: 'key-7' }, version: expect.any(Number), expiresAt: null })
    }
  })

  it('answers health, readiness and metrics over HTTP', async () => {
    const http = `http://${dev.nodes[0]?.http}`
    const [health, ready, metrics] = await Promise.all(['healthz', 'readyz', 'metrics'].map(path => fetch(`${http}/${path}`)))
    expect(health?.status).toBe(200)
    expect(ready?.status).toBe(200)
    expect(await metrics?.text()).toContain('nearstate_partitions{state="primary"} 80')
  })

  it('keeps everything when a node is killed, replaces it, and fills it again', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nearstate-'))
    const functions = join(folder, 'marks.ts')
    writeFileSync(functions, markFunctions)
    await grid.functions.deploy(functions)
    rmSync(folder, { recursive: true })

    const victim = dev.nodes[1]
    process.kill(victim?.pid ?? 0, 'SIGKILL')
    expect(await dev.next('nodeExited')).toMatchObject({ node: 'node-2', pid: victim?.pid, signal: 'SIGKILL', willReplace: true })
    expect(await dev.next('failover')).toMatchObject({ node: 'node-2', partitions: 80 })
    const people = grid.map<{ key: string }>('people')
    expect(await people.getAll(keys)).toEqual(new Map(keys.map(key => [key, { key }])))

    const started = await dev.next('nodeStarted')
    expect(started).toMatchObject({ node: 'node-2', address: victim?.address, http: victim?.http })
    expect(started['pid']).not.toBe(victim?.pid)
    const status = async () => JSON.parse((await runCommand(['status', '--json', '--endpoint', dev.endpoints[0] ?? ''])).stdout) as unknown
    await expect
      .poll(status, { timeout: 60_000 })
      .toMatchObject({ state: 'healthy', nodes: 3, partitions: { underReplicated: 0, migrating: 0, unavailable: 0, lost: 0 } })
    const primaries = async () => {
      const nodes = JSON.parse((await runCommand(['nodes', '--json', '--endpoint', dev.endpoints[0] ?? ''])).stdout) as {
        primaries: number
      }[]
      return nodes.map(node => node.primaries)
    }
    await expect.poll(primaries, { timeout: 60_000 }).toEqual([80, 80, 80])
    // The replacement has the functions too, though it joined after they were deployed.
    await expect.poll(() => Promise.all(keys.map(key => people.invoke(key, 'mark'))).catch(String), { timeout: 20_000 }).toEqual(keys)

    const refusal = await runCommand(['partitions', 'recover', '--json', '--endpoint', dev.endpoints[0] ?? ''])
    expect(refusal.code).toBe(1)
    expect(JSON.parse(refusal.stderr)).toMatchObject({ error: { code: 'INVALID_ARGUMENT' } })
    const recovery = await runCommand(['partitions', 'recover', '--accept-loss', '--json', '--endpoint', dev.endpoints[0] ?? ''])
    expect(JSON.parse(recovery.stdout)).toEqual({ recovered: 0 })
  })

  it('lets a node leave: what it holds moves away first, and it is not replaced', async () => {
    const endpoint = dev.endpoints[0] ?? ''
    const leave = await runCommand(['nodes', 'leave', 'node-3', '--json', '--endpoint', endpoint, '--timeout', '60s'])
    expect(leave).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(leave.stdout)).toEqual({ left: 'node-3' })
    expect(await dev.next('nodeExited')).toMatchObject({ node: 'node-3', code: 0, willReplace: false })
    const partitions = JSON.parse((await runCommand(['partitions', '--json', '--endpoint', endpoint])).stdout) as {
      primary: { node: string }
      inSync: { node: string }[]
    }[]
    expect(partitions.every(({ primary, inSync }) => primary.node !== 'node-3' && inSync.length === 2)).toBe(true)
    expect(await grid.map('people').size()).toBe(keys.length)
    const again = await runCommand(['nodes', 'leave', 'node-3', '--json', '--endpoint', endpoint])
    expect(JSON.parse(again.stderr)).toMatchObject({ error: { code: 'NOT_FOUND' } })
  })
})

describe('the end of nearstate dev', () => {
  it('takes its nodes along when it is told to stop', async () => {
    const dev = await startDev(['--nodes', '2'])
    expect(await dev.stop()).toBe(0)
    for (const node of dev.nodes) expect(isAlive(node.pid)).toBe(false)
  })

  it('takes its nodes along when it is killed', async () => {
    const dev = await startDev(['--nodes', '2'])
    dev.child.kill('SIGKILL')
    await expect.poll(() => dev.nodes.some(node => isAlive(node.pid)), { timeout: 30_000 }).toBe(false)
  })

  it('leaves a dead node dead with --no-replace', async () => {
    const dev = await startDev(['--nodes', '2', '--no-replace'])
    process.kill(dev.nodes[1]?.pid ?? 0, 'SIGKILL')
    expect(await dev.next('nodeExited')).toMatchObject({ willReplace: false })
    await dev.stop()
  })
})
