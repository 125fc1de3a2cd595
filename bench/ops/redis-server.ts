/** A redis-server of the machine, in memory only, on a free port. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'

export interface RedisServer {
  readonly port: number
  readonly version: string
  stop(): Promise<void>
}

/** Throws a sentence that says what to install when there is none. `primaryPort`: it is that server's replica, and ready when it has its data. */
export async function startRedis(primaryPort?: number): Promise<RedisServer> {
  const port = await freePort()
  const replicaOf = primaryPort === undefined ? [] : ['--replicaof', `127.0.0.1 ${primaryPort}`, '--repl-diskless-load', 'on-empty-db']
  const child = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', ...replicaOf], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let log = ''
  const ready = new Promise<void>((resolve, reject) => {
    child.once('error', () => reject(new Error('There is no redis-server to compare with: install it (apt-get install redis-server)')))
    child.once('exit', code => reject(new Error(`redis-server ended with code ${code}: ${log.slice(-500)}`)))
    child.stdout.on('data', (text: Buffer) => {
      if (log.length < 64_000) log += text.toString()
      if (log.includes(primaryPort === undefined ? 'Ready to accept connections' : 'MASTER <-> REPLICA sync: Finished')) resolve()
    })
  })
  // A benchmark that is interrupted leaves no server behind.
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  await ready
  return {
    port,
    version: /version=([\d.]+)/.exec(log)?.[1] ?? 'unknown',
    async stop() {
      process.off('exit', kill)
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      await ended
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
