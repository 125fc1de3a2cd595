/** Real etcd members on free loopback ports, each with a data folder of its own, for tests. Stopped by pid. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectEtcd } from '../../src/coordinator/etcd/etcd-coordinator.ts'

export const hasEtcd = spawnSync('etcd', ['--version']).status === 0

const host = '127.0.0.1'
const startTimeoutMs = 25_000

export interface EtcdServersOptions {
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string }
}

interface Member {
  readonly name: string
  readonly address: string
  readonly dataDir: string
  readonly args: readonly string[]
  process: ChildProcess | undefined
}

export class EtcdServers {
  readonly #members: readonly Member[]
  readonly #folder: string

  private constructor(members: readonly Member[], folder: string) {
    this.#members = members
    this.#folder = folder
  }

  /** Resolves when the cluster answers (with TLS: when it has been started). */
  static async start(count: number, { tls }: EtcdServersOptions = {}): Promise<EtcdServers> {
    const folder = await mkdtemp(join(tmpdir(), 'nearstate-etcd-'))
    const ports = await freePorts(count * 2)
    const scheme = tls === undefined ? 'http' : 'https'
    const peerOf = (i: number): string => `http://${host}:${ports[count + i]}`
    const members = Array.from({ length: count }, (_, i): Member => {
      const name = `m${i}`
      const address = `${host}:${ports[i]}`
      const dataDir = join(folder, name)
      const initial = Array.from({ length: count }, (_, other) => `m${other}=${peerOf(other)}`).join(',')
      const options: Readonly<Record<string, string>> = {
        name,
        'data-dir': dataDir,
        logger: 'zap',
        'log-level': 'error',
        'listen-client-urls': `${scheme}://${address}`,
        'advertise-client-urls': `${scheme}://${address}`,
        'listen-peer-urls': peerOf(i),
        'initial-advertise-peer-urls': peerOf(i),
        'initial-cluster': initial,
        ...(tls === undefined ? {} : { 'cert-file': tls.cert, 'key-file': tls.key, 'trusted-ca-file': tls.ca, 'client-cert-auth': 'true' }),
      }
      const args = Object.entries(options).map(([option, value]) => `--${option}=${value}`)
      return { name, address, dataDir, args, process: undefined }
    })
    const servers = new EtcdServers(members, folder)
    for (let i = 0; i < count; i += 1) servers.startMember(i)
    if (tls === undefined) await servers.untilAnswers()
    return servers
  }

  /** host:port of each. */
  get addresses(): readonly string[] {
    return this.#members.map(({ address }) => address)
  }

  get coordinator(): string {
    return `etcd://${this.addresses.join(',')}`
  }

  /** If it does not run already. */
  startMember(i: number): void {
    const member = this.#member(i)
    if (isRunning(member.process)) return
    member.process = spawn('etcd', [...member.args], { stdio: 'ignore' })
  }

  async killMember(i: number): Promise<void> {
    const member = this.#member(i)
    const running = member.process
    member.process = undefined
    if (!isRunning(running)) return
    const exited = new Promise(resolve => running.once('exit', resolve))
    running.kill('SIGKILL')
    await exited
  }

  async killAll(): Promise<void> {
    await Promise.all(this.#members.map((_, i) => this.killMember(i)))
  }

  startAll(): void {
    for (let i = 0; i < this.#members.length; i += 1) this.startMember(i)
  }

  signal(i: number, signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#member(i).process?.kill(signal)
  }

  /** The index of the member that leads now. */
  async leader(): Promise<number> {
    for (let tries = 0; tries < 100; tries += 1) {
      for (const [i, { address, process }] of this.#members.entries()) {
        if (process === undefined) continue
        const status = await this.#post(address, 'maintenance/status').catch(() => undefined)
        if (status !== undefined && status.leader !== '0' && status.leader === status.header?.member_id) return i
      }
      await sleep(50)
    }
    throw new Error('no etcd member leads')
  }

  /** Forgets the history up to now. */
  async compact(): Promise<void> {
    const { header } = await this.post('kv/range', { key: 'AA==' })
    await this.post('kv/compaction', { revision: header?.revision, physical: true })
  }

  async untilAnswers(): Promise<void> {
    const client = connectEtcd({ members: this.addresses, cluster: 'start' })
    const giveUpAt = performance.now() + startTimeoutMs
    try {
      for (;;) {
        try {
          await client.list('')
          return
        } catch (error) {
          if (performance.now() > giveUpAt) throw error
          await sleep(50)
        }
      }
    } finally {
      await client.close()
    }
  }

  async stop(): Promise<void> {
    await this.killAll()
    await rm(this.#folder, { recursive: true, force: true })
  }

  #member(i: number): Member {
    const member = this.#members[i]
    if (member === undefined) throw new RangeError(`there is no etcd member ${i}`)
    return member
  }

  /** Of a member that stands still. */
  async wipe(i: number): Promise<void> {
    await rm(this.#member(i).dataDir, { recursive: true, force: true })
  }

  /** etcd's JSON gateway, at the first member. */
  post(path: string, body: object): Promise<EtcdJson> {
    return this.#post(this.addresses[0] ?? '', path, body)
  }

  async #post(address: string, path: string, body: object = {}): Promise<EtcdJson> {
    const answer = await fetch(`http://${address}/v3/${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(2000),
    })
    if (!answer.ok) throw new Error(`etcd answered ${answer.status} to ${path}: ${await answer.text()}`)
    return (await answer.json()) as EtcdJson
  }
}

interface EtcdJson {
  readonly header?: { readonly member_id: string; readonly revision: string }
  readonly leader?: string
}

const isRunning = (child: ChildProcess | undefined): child is ChildProcess =>
  child !== undefined && child.exitCode === null && child.signalCode === null

async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      await new Promise<void>(resolve => server.listen(0, host, resolve))
      return server
    }),
  )
  const ports = servers.map(server => {
    const address = server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  })
  await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))))
  return ports
}
