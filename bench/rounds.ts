/**
 * The discipline of a comparison: every side in a fresh process, a warm-up, then interleaved rounds in alternating order.
 *
 * A side is a module that calls `serveSide({ command: params => result })`; the benchmark starts it with `startSide` and
 * calls its commands. `interleave` drives any sides, processes or not, through the rounds.
 */
import { fork } from 'node:child_process'

type Command = (params: never) => unknown

/** In the side's process: answers the benchmark's calls, one at a time. Ends the process when the benchmark goes away. */
export function serveSide(commands: Readonly<Record<string, Command>>): void {
  const send = process.send?.bind(process)
  if (send === undefined) throw new Error('A side of a benchmark is started by the benchmark: run `npm run bench`')
  process.on('disconnect', () => process.exit(0))
  process.on('message', (request: { id: number; command: string; params: unknown }) => {
    const command = commands[request.command]
    Promise.resolve()
      .then(() => {
        if (command === undefined) throw new Error(`no command "${request.command}"`)
        return command(request.params as never)
      })
      .then(
        result => send({ id: request.id, result }),
        (thrown: unknown) => send({ id: request.id, error: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) }),
      )
  })
}

export interface Side {
  readonly name: string
  readonly pid: number
  call<Result>(command: string, params?: unknown): Promise<Result>
  stop(): Promise<void>
}

/** Starts a module in a fresh Node process. `nodeOptions` such as `--expose-gc` are for that process alone. */
export function startSide(
  name: string,
  module: URL,
  options: {
    readonly nodeOptions?: readonly string[]
    readonly args?: readonly string[]
    readonly env?: Readonly<Record<string, string>>
  } = {},
): Side {
  const child = fork(module, [...(options.args ?? [])], {
    execArgv: [...(options.nodeOptions ?? [])],
    env: { ...process.env, ...options.env },
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  let nextId = 0
  let gone: Error | undefined
  const ended = new Promise<void>(resolve => {
    const fail = (why: string): void => {
      gone = new Error(`Side "${name}" ${why}`)
      for (const call of waiting.values()) call.reject(gone)
      waiting.clear()
      resolve()
    }
    child.on('error', error => fail(`failed: ${error.message}`))
    child.on('exit', (code, signal) => fail(`ended (${signal ?? `exit code ${code}`})`))
  })
  child.on('message', (answer: { id: number; result?: unknown; error?: string }) => {
    const call = waiting.get(answer.id)
    waiting.delete(answer.id)
    if (answer.error === undefined) call?.resolve(answer.result)
    else call?.reject(new Error(`Side "${name}": ${answer.error}`))
  })
  return {
    name,
    pid: child.pid ?? -1,
    call<Result>(command: string, params: unknown = null) {
      return new Promise<Result>((resolve, reject) => {
        if (gone !== undefined) return reject(gone)
        const id = nextId++
        waiting.set(id, { resolve: resolve as (value: unknown) => void, reject })
        child.send({ id, command, params })
      })
    },
    async stop() {
      if (gone === undefined) child.disconnect()
      const kill = setTimeout(() => child.kill('SIGKILL'), 5000)
      await ended
      clearTimeout(kill)
    },
  }
}

export interface Rounds {
  readonly warmupMs: number
  readonly roundMs: number
  readonly rounds: number
}

/** The definition of performance.md; `--quick` of a benchmark may take `quickRounds` to check that it works at all. */
export const fullRounds: Rounds = { warmupMs: 3000, roundMs: 3000, rounds: 5 }
export const quickRounds: Rounds = { warmupMs: 500, roundMs: 500, rounds: 3 }

/** Warms every contestant up, then runs the rounds, each contestant once a round, in alternating order. The answer: per contestant, one result per round. */
export async function interleave<Result>(
  contestants: readonly ((durationMs: number) => Promise<Result>)[],
  plan: Rounds,
  onRound: (round: number) => void = () => undefined,
): Promise<Result[][]> {
  for (const contestant of contestants) await contestant(plan.warmupMs)
  const results: Result[][] = contestants.map(() => [])
  for (let round = 0; round < plan.rounds; round += 1) {
    onRound(round)
    const order = contestants.map((_, index) => index)
    if (round % 2 === 1) order.reverse()
    for (const index of order) results[index]?.push(await (contestants[index] as (ms: number) => Promise<Result>)(plan.roundMs))
  }
  return results
}
