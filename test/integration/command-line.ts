/** Runs the real command line in processes of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

/** Without what the test runner sets for its own processes. */
const environment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(NEARSTATE_|NODE_OPTIONS|VITEST)/.test(name)))

export interface CommandResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export function runCommand(args: readonly string[], nodeArgs: readonly string[] = []): Promise<CommandResult> {
  const child = spawn(process.execPath, [...nodeArgs, main, ...args], { env: environment(), stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  return new Promise(resolve => child.on('close', code => resolve({ code, stdout, stderr })))
}

export interface DevNodeLine {
  readonly name: string
  readonly pid: number
  readonly address: string
  readonly http: string
}

export interface DevProcess {
  readonly child: ChildProcess
  readonly endpoints: readonly string[]
  readonly nodes: readonly DevNodeLine[]
  /** The JSON lines after the first, as they come. */
  readonly events: readonly Readonly<Record<string, unknown>>[]
  /** Waits for an event that is not among those of an earlier wait. */
  next(event: string, timeoutMs?: number): Promise<Readonly<Record<string, unknown>>>
  /** Ctrl-C; resolves with the exit code. */
  stop(): Promise<number | null>
}

/** `nearstate dev --json` on free ports; resolves at its ready line. */
export async function startDev(args: readonly string[]): Promise<DevProcess> {
  const child = spawn(process.execPath, [main, 'dev', '--json', '--port', '0', '--log-level', 'error', ...args], {
    env: environment(),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines: Readonly<Record<string, unknown>>[] = []
  const waiting = new Set<() => void>()
  const exited = new Promise<number | null>(resolve => child.on('exit', code => resolve(code)))
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      lines.push(JSON.parse(text.slice(0, end)) as Readonly<Record<string, unknown>>)
      text = text.slice(end + 1)
    }
    for (const wake of waiting) wake()
  })
  let seen = 0
  const next = async (found: (line: Readonly<Record<string, unknown>>) => boolean, timeoutMs: number) => {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const index = lines.findIndex((line, i) => i >= seen && found(line))
      if (index >= 0) {
        seen = index + 1
        return lines[index] as Readonly<Record<string, unknown>>
      }
      if (performance.now() > deadline) throw new Error(`no such line within ${timeoutMs} ms; there are ${JSON.stringify(lines)}`)
      await new Promise<void>(resolve => {
        const wake = (): void => {
          clearTimeout(timer)
          waiting.delete(wake)
          resolve()
        }
        const timer = setTimeout(wake, 200)
        waiting.add(wake)
      })
    }
  }
  const ready = (await next(line => line['ready'] === true, 60_000).catch(error => {
    child.kill('SIGKILL')
    throw error
  })) as unknown as Pick<DevProcess, 'endpoints' | 'nodes'>
  return {
    child,
    endpoints: ready.endpoints,
    nodes: ready.nodes,
    get events() {
      return lines.slice(1)
    },
    next: (event, timeoutMs = 60_000) => next(line => line['event'] === event, timeoutMs),
    async stop() {
      child.kill('SIGINT')
      return exited
    },
  }
}

/** Whether a process of that id is there. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
