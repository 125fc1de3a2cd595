import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import { describe, expect, it, vi } from 'vitest'
import { runCommand } from './command-line.ts'

vi.setConfig({ testTimeout: 60_000 })

const errorOf = (stderr: string): unknown => (JSON.parse(stderr) as { error: unknown }).error

describe('the command line', () => {
  it('says in one sentence that a Node is too old', async () => {
    const old = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.19.0' } })`
    const result = await runCommand(['status'], ['--import', `data:text/javascript,${encodeURIComponent(old)}`])
    expect(result.code).toBe(1)
    expect(result.stderr.trim().split('\n')).toHaveLength(1)
    expect(result.stderr).toMatch(/needs Node 22\.\d+.* or newer, and this is Node 20\.19\.0/)
  })

  it('says what to do when no cluster answers', async () => {
    const result = await runCommand(['status', '--json', '--endpoint', '127.0.0.1:1', '--timeout', '300ms'])
    expect(result).toMatchObject({ code: 1, stdout: '' })
    expect(errorOf(result.stderr)).toMatchObject({ code: 'UNAVAILABLE', retryable: true, remedy: expect.stringContaining('nearstate dev') })
  })

  it('exits with 2 for a wrong command line, as one JSON object with --json', async () => {
    const [plain, json] = await Promise.all([runCommand(['nix']), runCommand(['map', 'get', '--json'])])
    expect(plain.code).toBe(2)
    expect(plain.stderr).toContain("unknown command 'nix'")
    expect(json.code).toBe(2)
    expect(errorOf(json.stderr)).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  it('says at once that nobody listens, and names a port that is HTTP', async () => {
    const server = createHttpServer((_, response) => response.end('ok'))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    try {
      const [refused, http] = await Promise.all([
        runCommand(['status', '--json', '--endpoint', '127.0.0.1:1,localhost:2', '--timeout', '45s']),
        runCommand(['status', '--json', '--endpoint', `127.0.0.1:${port}`, '--timeout', '1s']),
      ])
      const message = 'Cannot reach the cluster at 127.0.0.1:1 (nothing listens there), localhost:2 (nothing listens there)'
      expect(errorOf(refused.stderr)).toMatchObject({ code: 'UNAVAILABLE', message, remedy: expect.stringContaining('nearstate dev') })
      expect(errorOf(http.stderr)).toMatchObject({
        code: 'UNAVAILABLE',
        message: expect.stringContaining(`127.0.0.1:${port} answers as an HTTP port does; the control port of a node is wanted`),
      })
      expect(http.stderr).not.toContain('Resolution note')
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  it('refuses what was written wrongly with 2', async () => {
    const [duration, endpoint, value, eviction] = await Promise.all([
      runCommand(['status', '--timeout', '5 parsecs']),
      runCommand(['status', '-e', 'localhost:123456']),
      runCommand(['map', 'set', 'm', 'k', 'no JSON']),
      runCommand(['map', 'create', 'm', '--eviction', 'some']),
    ])
    expect([duration.code, endpoint.code, value.code, eviction.code]).toEqual([2, 2, 2, 2])
    expect(duration.stderr).toContain('5 parsecs')
    expect(endpoint.stderr).toContain('localhost:123456')
  })

  it('asks for a command where none is given, and tells its version, as JSON with --json', async () => {
    const [none, group, version] = await Promise.all([
      runCommand(['--json']),
      runCommand(['job', '--json']),
      runCommand(['--version', '--json']),
    ])
    expect([none.code, group.code, version.code]).toEqual([2, 2, 0])
    expect(errorOf(none.stderr)).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/^A command is wanted after "nearstate": dev, /),
    })
    expect(errorOf(group.stderr)).toMatchObject({
      message: expect.stringMatching(/^A command is wanted after "nearstate job": submit, ls, show, /),
    })
    expect(JSON.parse(version.stdout)).toEqual({ version: expect.stringMatching(/^\d+\.\d+\.\d+/) })
  })

  it('shows the configuration with origins, and starts nothing', async () => {
    const result = await runCommand(['start', '--port', '7405', '--print-config'])
    expect(result.code).toBe(0)
    expect(result.stdout).toMatch(/^port: 7405\s+# --port$/m)
    expect(result.stdout).toMatch(/^partitions: 240\s+# default$/m)
  })

  it('refuses a configuration that cannot be', async () => {
    const [backups, host] = await Promise.all([
      runCommand(['start', '--backups', '6', '--json']),
      runCommand(['start', '--host', '10.0.0.1', '--json']),
    ])
    expect(backups.code).toBe(1)
    expect(errorOf(backups.stderr)).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('backups') })
    expect(errorOf(host.stderr)).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('insecure') })
  })

  it('names a port that is in use, and the option that moves it', async () => {
    const server = createServer()
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    try {
      const [start, dev, shard] = await Promise.all([
        runCommand(['start', '--port', String(port), '--http-port', '0', '--json', '--log-level', 'silent']),
        runCommand(['dev', '--nodes', '1', '--port', String(port), '--json']),
        runCommand(['start', '--port', '0', '--http-port', '0', '--shard-port-base', String(port), '--json', '--log-level', 'silent']),
      ])
      for (const result of [start, dev, shard]) {
        expect(result.code).toBe(1)
        expect(result.stdout).toBe('')
        expect(errorOf(result.stderr)).toMatchObject({
          code: 'UNAVAILABLE',
          message: expect.stringMatching(
            new RegExp(`${port}: the port is in use; choose another with the option (port|shardPortBase) .*"lsof -i :${port}"`),
          ),
          remedy: expect.stringContaining('nearstate dev --port'),
        })
      }
    } finally {
      server.close()
    }
  })
})
