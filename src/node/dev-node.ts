/**
 * One node process of a development cluster, seen from the supervisor.
 *
 * Owns: the child process, its replacement. Does not: the coordinator, the cluster's events (dev.ts).
 * A process that ends without being told, but for one that was asked to leave the cluster, is replaced after `replaceAfterMs` by a fresh one with the same name and ports, later
 * and later (to `replaceAfterMaxMs`) when it keeps ending before it has served.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { NearstateError } from '../base/errors.ts'
import type { FromDevNode, ToDevNode } from './dev-messages.ts'

export interface DevNodeOptions {
  readonly name: string
  /** Flags of `nearstate start` besides name and ports. */
  readonly flags: readonly string[]
  /** 0: any free port; a replacement takes what the first process had. */
  readonly port: number
  readonly httpPort: number
  readonly replace: boolean
  readonly onStarted: (node: DevNode) => void
  readonly onExited: (node: DevNode, cause: { pid: number; code: number | null; signal: string | null; willReplace: boolean }) => void
}

const replaceAfterMs = 2000
const replaceAfterMaxMs = 30_000
/** After the stop message; a node answers what is under way within its shutdownGrace. */
const killAfterMs = 15_000

const commandLine = fileURLToPath(new URL(`../cli/main${extname(import.meta.url)}`, import.meta.url))

export class DevNode {
  readonly name: string
  address = ''
  http = ''
  readonly #options: DevNodeOptions
  readonly #ready = Promise.withResolvers<void>()
  #child: ChildProcess | undefined
  /** Deaths in a row before it served. */
  #earlyDeaths = 0
  #timer: NodeJS.Timeout | undefined
  #stopping = false
  #hasLeft = false
  #failure: NearstateError | undefined

  constructor(options: DevNodeOptions) {
    this.#options = options
    this.name = options.name
    this.#ready.promise.catch(() => {}) // for those who do not wait for it
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** Resolves when the first process serves; rejects with its error when it cannot. */
  get ready(): Promise<void> {
    return this.#ready.promise
  }

  start(): void {
    const flags = [
      '--name',
      this.name,
      '--port',
      this.#portOf(this.address, this.#options.port),
      '--http-port',
      this.#portOf(this.http, this.#options.httpPort),
    ]
    const child = spawn(process.execPath, [commandLine, 'start', ...flags, ...this.#options.flags], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#child = child
    child.on('message', (message: FromDevNode) => this.#receive(message))
    child.on('error', error => this.#ready.reject(new NearstateError('INTERNAL', `Cannot start node ${this.name}: ${error.message}`)))
    child.on('exit', (code, signal) => this.#exited(child, code, signal))
  }

  async stop(): Promise<void> {
    this.#stopping = true
    clearTimeout(this.#timer)
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
    if (child.connected) child.send({ kind: 'stop' } satisfies ToDevNode, () => {})
    else child.kill('SIGTERM')
    const killer = setTimeout(() => child.kill('SIGKILL'), killAfterMs)
    await exited
    clearTimeout(killer)
  }

  #receive(message: FromDevNode): void {
    switch (message.kind) {
      case 'listening':
        this.address = message.address
        this.http = message.http
        return
      case 'ready':
        this.#earlyDeaths = 0
        this.#ready.resolve()
        this.#options.onStarted(this)
        return
      case 'left':
        this.#hasLeft = true
        return
      case 'failed':
        this.#failure = new NearstateError(message.code, `node ${this.name}: ${message.message}`)
        return
    }
  }

  #exited(child: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    this.#ready.reject(
      this.#failure ?? new NearstateError('UNAVAILABLE', `node ${this.name} ended (${signal ?? `exit code ${code}`}) before it served`),
    )
    if (this.#stopping) return
    const willReplace = this.#options.replace && !this.#hasLeft
    this.#options.onExited(this, { pid: child.pid ?? 0, code, signal, willReplace })
    if (!willReplace) return
    this.#timer = setTimeout(() => this.start(), Math.min(replaceAfterMs * 2 ** this.#earlyDeaths, replaceAfterMaxMs))
    this.#earlyDeaths += 1
  }

  #portOf(address: string, configured: number): string {
    return address === '' ? String(configured) : (address.split(':').at(-1) as string)
  }
}
