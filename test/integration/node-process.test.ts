import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, it, vi } from 'vitest'
import { connect } from '../../src/client/connect.ts'

vi.setConfig({ testTimeout: 60_000 })

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
let child: ChildProcess | undefined

afterEach(() => {
  child?.kill('SIGKILL')
})

interface LogLine {
  readonly level: string
  readonly msg: string
  readonly address?: string
}

/** One node as a person starts it, with no channel to its parent. Resolves with its endpoint when it serves. */
async function startNodeProcess(): Promise<{ process: ChildProcess; endpoint: string; lines: LogLine[] }> {
  const process = spawn(globalThis.process.execPath, [main, 'start', '--name', 'solo', '--port', '0', '--http-port', '0'], {
    stdio: ['ignore', 'inherit', 'pipe'],
  })
  child = process
  const lines: LogLine[] = []
  const serving = Promise.withResolvers<string>()
  let text = ''
  process.stderr.on('data', (chunk: Buffer) => {
    text += chunk.toString()
    const complete = text.split('\n')
    text = complete.pop() ?? ''
    for (const line of complete) {
      const parsed = JSON.parse(line) as LogLine
      lines.push(parsed)
      if (parsed.msg === 'serving') serving.resolve(parsed.address ?? '')
    }
  })
  return { process, endpoint: await serving.promise, lines }
}

it('a node that is told to stop answers what is under way, says what is lost, and exits with 0', async () => {
  const node = await startNodeProcess()
  await using grid = await connect({ endpoints: [node.endpoint] })
  const map = grid.map<number>('m')
  // Opens a session at every partition: what follows is sent at once.
  await map.setAll(Array.from({ length: 2000 }, (_, i) => [`k${i}`, 0] as const))
  const writes = Array.from({ length: 2000 }, (_, i) => map.set(`k${i}`, i))
  const exited = once(node.process, 'exit')
  await writes[0]
  node.process.kill('SIGTERM')
  const outcomes = await Promise.allSettled(writes)
  expect(await exited).toEqual([0, null])
  // All were sent before the signal: they were taken, and so answered.
  expect(outcomes.filter(outcome => outcome.status === 'fulfilled')).toHaveLength(writes.length)
  expect(node.lines.find(line => line.level === 'warn')?.msg).toContain('no other copy')
})

it('a shard that dies takes its node down, said in the log, with an exit code of its own', async () => {
  const node = await startNodeProcess()
  await using grid = await connect({ endpoints: [node.endpoint] })
  await grid.functions.deploy(fileURLToPath(new URL('fixtures/endless-microtasks.ts', import.meta.url)))
  const exited = once(node.process, 'exit')
  grid
    .map('m')
    .invoke('k', 'spin')
    .catch(() => undefined)
  const [code, signal] = (await exited) as [number | null, string | null]
  expect(signal).toBeNull()
  expect(code).not.toBe(0)
  expect(node.lines.filter(line => line.level === 'error').map(line => line.msg)).not.toEqual([])
})
