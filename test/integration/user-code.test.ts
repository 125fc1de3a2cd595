/** Runaway and hostile user code in a real worker, with the real watchdog: protocols.md section 8. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { Client, credentials } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type BundledFile, bundleFile } from '../../src/bundling/bundle-file.ts'
import { Watchdog } from '../../src/node/watchdog.ts'
import { leaseStopper } from '../../src/node/execution-stopper.ts'
import { type CallCell, callCellOver, createCallCell, currentCall, markForStop } from '../../src/shard/user-code/call-cell.ts'
import type { UserCodeAnswer, UserCodeCommand } from './fixtures/user-code-worker.ts'

const timeLimitMs = 60

class UserCodeWorker {
  readonly worker: Worker
  readonly cell: CallCell
  readonly watchdog: Watchdog
  readonly exited: Promise<string>
  readonly givenUp: Promise<void>
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: unknown) => void }>()
  #id = 0

  constructor() {
    const callCell = createCallCell()
    this.cell = callCellOver(callCell)
    this.worker = new Worker(new URL('./fixtures/user-code-worker.ts', import.meta.url), {
      workerData: { callCell, timeLimitMs },
      resourceLimits: { maxOldGenerationSizeMb: 128 },
    })
    let onGivenUp: () => void = () => undefined
    this.givenUp = new Promise(resolve => {
      onGivenUp = resolve
    })
    this.watchdog = new Watchdog({
      timeLimitMs,
      workers: [{ worker: this.worker, callCell }],
      onGivenUp: () => onGivenUp(),
      onTrouble: (_, message) => {
        throw new Error(message)
      },
    })
    this.exited = new Promise(resolve => {
      let failure = ''
      this.worker.on('error', (error: NodeJS.ErrnoException) => {
        failure = error.code ?? error.message
      })
      this.worker.on('exit', code => resolve(`${code} ${failure}`))
    })
    this.worker.on('message', ({ id, value, failure }: UserCodeAnswer) => {
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (failure === undefined) waiting?.resolve(value)
      else waiting?.reject(failure)
    })
  }

  async start(): Promise<void> {
    const ready = new Promise(resolve => this.#waiting.set(0, { resolve, reject: resolve }))
    await this.watchdog.start()
    await ready
  }

  ask(command: UserCodeCommand): Promise<unknown> {
    this.#id += 1
    const id = this.#id
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.worker.postMessage({ id, command })
    })
  }

  invoke(name: string, args?: unknown): Promise<unknown> {
    return this.ask({ kind: 'invoke', name, args })
  }

  async stop(): Promise<void> {
    this.watchdog.stop()
    await this.worker.terminate()
  }
}

let folder = ''
/** One worker serves as many tests as can share it: starting one costs more than most of them. */
let shard: UserCodeWorker
let isStarted = false

async function bundleOf(name: string, source: string): Promise<BundledFile> {
  const path = join(folder, name)
  await writeFile(path, source)
  return bundleFile(path)
}

async function deploy(name: string, source: string): Promise<unknown> {
  return shard.ask({ kind: 'load', file: name, bundle: await bundleOf(name, source) })
}

const functionsFile = (functions: string): string =>
  `import { defineFunctions, entryFunction } from 'nearstate/functions'\nexport default defineFunctions({ ${functions} })\n`

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nearstate-user-code-'))
})
afterAll(async () => {
  await shard.stop()
  await rm(folder, { recursive: true, force: true })
})

/** Functions of `functions.ts` may be left over; other files are only there in a fresh worker. */
async function started(which: 'shared' | 'fresh' = 'shared'): Promise<void> {
  if (isStarted && which === 'shared') return
  if (isStarted) await shard.stop()
  shard = new UserCodeWorker()
  isStarted = true
  await shard.start()
}

const runaways: Readonly<Record<string, string>> = {
  'an endless loop': 'for (;;) {}',
  'an endless recursion that catches its overflow': 'const f = i => { try { f(i + 1) } catch { f(i) } }; f(0)',
  'a regular expression that backtracks without end': `return /^(a+)+$/.test('a'.repeat(50) + 'b')`,
  'a loop whose finally loops': 'for (;;) { try { for (;;) {} } finally { for (;;) {} } }',
  'a loop that catches everything': 'for (;;) { try { for (;;) {} } catch {} }',
  'a getter of the result that loops': 'return { get a() { for (;;) {} } }',
  'a getter of the thrown error that loops':
    'const e = new Error("x"); Object.defineProperty(e, "message", { get() { for (;;) {} } }); throw e',
  'a thrown proxy that loops': 'throw new Proxy({}, { get() { for (;;) {} }, getPrototypeOf() { for (;;) {} } })',
  'a comparison function that keeps sorting':
    'const a = Array.from({ length: 1e5 }, (_, i) => i); for (;;) a.sort((x, y) => (x * 7919) % 13 - (y * 104729) % 17)',
}

describe('a runaway function', () => {
  it.each(Object.entries(runaways))('%s is stopped, and the shard lives on', async (_, body) => {
    await started()
    const stopsBefore = shard.watchdog.stopCount
    await deploy('functions.ts', functionsFile(`run: entryFunction()(() => { ${body} }), fine: entryFunction()(() => 'fine')`))
    await expect(shard.invoke('run')).rejects.toMatchObject({
      code: 'FUNCTION_FAILED',
      message: expect.stringContaining('run was stopped: it ran for longer than'),
    })
    await expect(shard.invoke('fine')).resolves.toBe('fine')
    expect(shard.watchdog.stopCount).toBe(stopsBefore + 1)
  })

  it('is quarantined after three stops, until its name is deployed again', async () => {
    await started('fresh')
    const looping = functionsFile('run: entryFunction()(() => { for (;;) {} })')
    await deploy('functions.ts', looping)
    for (let i = 0; i < 3; i += 1) await expect(shard.invoke('run')).rejects.toMatchObject({ message: expect.stringContaining('stopped') })
    await expect(shard.invoke('run')).rejects.toMatchObject({ code: 'FUNCTION_FAILED', message: expect.stringContaining('is quarantined') })
    expect(await shard.ask({ kind: 'quarantined' })).toMatchObject({ labels: ['run'], stopCount: 3 })
    await deploy('functions.ts', functionsFile(`run: entryFunction()(() => 'mended')`))
    await expect(shard.invoke('run')).resolves.toBe('mended')
  })

  it('does not disturb the calls scheduled before and after it', async () => {
    await started()
    await deploy(
      'functions.ts',
      functionsFile(`run: entryFunction()(() => { for (;;) {} }), add: entryFunction()((_, n: number) => n + 1)`),
    )
    const calls = Array.from({ length: 200 }, (_, i) => (i === 100 ? shard.invoke('run').catch(() => 'stopped') : shard.invoke('add', i)))
    expect(await Promise.all(calls)).toEqual(Array.from({ length: 200 }, (_, i) => (i === 100 ? 'stopped' : i + 1)))
  })

  it('at the top level of a file fails its deploy and leaves the old functions', async () => {
    await started()
    await deploy('functions.ts', functionsFile(`one: entryFunction()(() => 1)`))
    for (let i = 0; i < 4; i += 1) {
      await expect(deploy('functions.ts', `for (;;) {}\n${functionsFile(`one: entryFunction()(() => 2)`)}`)).rejects.toMatchObject({
        code: 'FUNCTION_FAILED',
      })
    }
    await expect(shard.invoke('one')).resolves.toBe(1)
  })

  it.each(['encode', 'decode'] as const)('that is cut off while the shard %ss for it leaves the codec whole', async what => {
    await started()
    for (let i = 0; i < 10; i += 1) {
      await shard.ask({ kind: 'codecLoop', what, label: `${what} ${i}` })
      expect(await shard.ask({ kind: 'codecCheck' })).toBe(true)
    }
  })

  it('leaves gRPC streams of the same worker running', async () => {
    await started()
    await deploy('functions.ts', functionsFile(`run: entryFunction()((_, i: number) => { for (;;) {} })`))
    const client = new Client(`127.0.0.1:${String(await shard.ask({ kind: 'serve' }))}`, credentials.createInsecure())
    const asIs = (bytes: Buffer): Buffer => bytes
    const streams = Array.from({ length: 3 }, () => client.makeBidiStreamRequest('/test.Echo/Echo', asIs, asIs))
    let echoed = 0
    for (const stream of streams) stream.on('data', () => (echoed += 1))
    let sent = 0
    const sending = setInterval(() => streams.forEach(stream => (stream.write(Buffer.from('ping')), (sent += 1))), 2)
    await expect(shard.invoke('run', 0)).rejects.toMatchObject({ code: 'FUNCTION_FAILED' })
    await expect(shard.invoke('run', 1)).rejects.toMatchObject({ code: 'FUNCTION_FAILED' })
    clearInterval(sending)
    expect(sent).toBeGreaterThan(0)
    await expect.poll(() => echoed).toBe(sent)
    await Promise.all(streams.map(stream => new Promise(resolve => stream.on('end', resolve).end())))
    client.close()
  })
})

describe('a call that returns just as it is to be stopped', () => {
  it('waits at a safe point for a termination that comes late', async () => {
    await started()
    await deploy(
      'functions.ts',
      functionsFile(
        `run: entryFunction()(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)), fine: entryFunction()(() => 1)`,
      ),
    )
    const stopper = await leaseStopper()
    const answer = shard.invoke('run').then(
      () => 'returned',
      () => 'stopped',
    )
    await expect.poll(() => currentCall(shard.cell), { interval: 1 }).toBeGreaterThan(0)
    expect(markForStop(shard.cell, currentCall(shard.cell))).toBe(true)
    const later = shard.invoke('fine')
    // Long enough for the function to have returned: the shard is alive, and stands still.
    expect(await Promise.race([answer, later, new Promise(resolve => setTimeout(resolve, 100, 'waiting'))])).toBe('waiting')
    expect(await stopper.terminate(shard.worker.threadId)).toBeUndefined()
    expect(await answer).toBe('stopped')
    expect(await later).toBe(1)
    stopper.release()
  })

  it('is answered once, with its result or as stopped, and nothing else is cut off', async () => {
    await started()
    await deploy(
      'functions.ts',
      functionsFile(
        `spin: entryFunction()((_, ms: number) => { const end = performance.now() + ms; while (performance.now() < end); return ms }), add: entryFunction()((_, n: number) => n + 1)`,
      ),
    )
    const outcomes = { returned: 0, stopped: 0 }
    for (let i = 0; i < 24; i += 1) {
      // Around the limit plus two looks; many labels would do, but each round is deployed anew to lift the quarantine.
      const spin = shard.invoke('spin', 62 + i).then(
        () => (outcomes.returned += 1),
        () => (outcomes.stopped += 1),
      )
      const after = Array.from({ length: 5 }, (_, n) => shard.invoke('add', n))
      await spin
      expect(await Promise.all(after)).toEqual([1, 2, 3, 4, 5])
      if (i % 2 === 1)
        await deploy(
          'functions.ts',
          functionsFile(
            `spin: entryFunction()((_, ms: number) => { const end = performance.now() + ms; while (performance.now() < end); return ms }), add: entryFunction()((_, n: number) => n + 1)`,
          ),
        )
    }
    expect(outcomes.returned + outcomes.stopped).toBe(24)
  })
})

describe('a throwing function', () => {
  it('gives its message, and its stack in lines of the source', async () => {
    await started()
    await writeFile(
      join(folder, 'rules.ts'),
      `export interface Rule { readonly max: number }\n\nexport function check(rule: Rule, n: number): void {\n  if (n > rule.max) throw new RangeError(\`\${n} is above \${rule.max}\`)\n}\n`,
    )
    await deploy(
      'functions.ts',
      `import { defineFunctions, entryFunction } from 'nearstate/functions'\nimport { check } from './rules.ts'\n\nexport default defineFunctions({\n  limit: entryFunction<number>()((entry, n: number) => {\n    check({ max: 5 }, n)\n  }),\n})\n`,
    )
    const failure = await shard.invoke('limit', 9).catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'FUNCTION_FAILED', message: '9 is above 5' })
    expect((failure as { stack: string }).stack).toMatch(
      /^RangeError: 9 is above 5\n {4}at check \(rules\.ts:4:27\)\n {4}at .*functions\.ts:6:5\)?$/,
    )
  })

  it.each([
    ['null', 'throw null', 'threw null'],
    ['a string', `throw 'no'`, 'threw "no"'],
    ['undefined', 'throw undefined', 'threw undefined'],
    ['a symbol', `throw Symbol('s')`, 'threw Symbol(s)'],
    ['a frozen error', `throw Object.freeze(new Error('cold'))`, 'cold'],
    ['an object', 'throw { reason: 1 }', 'threw an object that is not an error: {"reason":1}'],
    [
      'an error whose getters throw',
      `const e = new Error(); Object.defineProperty(e, 'message', { get() { throw 1 } }); throw e`,
      'threw an error that cannot be read: {}',
    ],
    ['a revoked proxy', 'const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); throw proxy', 'threw an object that is not an error'],
    ['a function', 'throw () => 1', 'threw an object that is not an error'],
    ['a stack overflow', 'const f = () => f(); f()', 'Maximum call stack size exceeded'],
  ])('that throws %s is described', async (_, body, message) => {
    await started()
    await deploy('functions.ts', functionsFile(`run: entryFunction()(() => { ${body} })`))
    await expect(shard.invoke('run')).rejects.toMatchObject({ code: 'FUNCTION_FAILED', message })
  })
})

describe('asynchronous user code', () => {
  it('is refused when it is deployed, or when it returns a promise', async () => {
    await started('fresh')
    await expect(deploy('a.ts', functionsFile('later: async () => 1'))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('"later"'),
    })
    await deploy(
      'b.ts',
      functionsFile(
        'later: entryFunction()((() => Promise.reject(new Error("nobody waits"))) as () => unknown), timer: entryFunction()(() => { setTimeout(() => 1, 1) })',
      ),
    )
    await expect(shard.invoke('later')).rejects.toMatchObject({ code: 'FUNCTION_FAILED', message: expect.stringContaining('synchronous') })
    await expect(shard.invoke('timer')).rejects.toMatchObject({
      code: 'FUNCTION_FAILED',
      message: expect.stringContaining('setTimeout() is not available'),
    })
  })

  it('that leaves a rejected promise behind does not end the shard', async () => {
    await started('fresh')
    await deploy(
      'a.ts',
      functionsFile(
        `error: entryFunction()(() => { Promise.reject(new Error('left')) }), bare: entryFunction()(() => { Promise.reject(7) }), fine: entryFunction()(() => 1)`,
      ),
    )
    await shard.invoke('error')
    await shard.invoke('bare')
    await expect(shard.invoke('fine')).resolves.toBe(1)
    expect(await shard.ask({ kind: 'quarantined' })).toMatchObject({
      logged: [expect.stringContaining('left'), expect.stringContaining('threw 7')],
    })
  })

  it('that finds the process and would end it fails by name, and the shard lives on', async () => {
    await started('fresh')
    const found = `new Function('return process')()`
    const run = (body: string): string => `entryFunction()(() => { ${body} })`
    await deploy(
      'a.ts',
      functionsFile(
        [
          `exit: ${run(`${found}.exit(0)`)}`,
          `indirect: ${run(`(0, eval)('process').exit()`)}`,
          `kill: ${run(`${found}.kill(${found}.pid, 'SIGKILL')`)}`,
          `later: ${run(`Promise.resolve().then(() => ${found}.exit(1))`)}`,
          `restored: ${run(`try { ${found}.exit = () => {} } catch {} ${found}.exit(0)`)}`,
          `fine: ${run('return 1')}`,
        ].join(', '),
      ),
    )
    for (const [name, call] of Object.entries({ exit: 'exit', indirect: 'exit', kill: 'kill', restored: 'exit' })) {
      await expect(shard.invoke(name)).rejects.toMatchObject({
        code: 'FUNCTION_FAILED',
        message: expect.stringContaining(`process.${call}() is not available in functions and jobs: it would end the node`),
      })
    }
    await shard.invoke('later')
    await expect(shard.invoke('fine')).resolves.toBe(1)
    await expect(deploy('b.ts', `${found}.exit(0)\n${functionsFile('two: entryFunction()(() => 2)')}`)).rejects.toMatchObject({
      message: expect.stringContaining('process.exit() is not available'),
    })
    await expect(shard.invoke('fine')).resolves.toBe(1)
  })

  it("leaves a bug of the shard's own what it was: the worker ends with its error", async () => {
    await started('fresh')
    await shard.ask({ kind: 'crash' })
    expect(await shard.exited).toBe('1 a bug of the shard')
  })

  it('that loops in a microtask is beyond stopping: the shard is given up', async () => {
    await started('fresh')
    await deploy('a.ts', functionsFile('run: entryFunction()(() => { Promise.resolve().then(() => { for (;;) {} }) })'))
    void shard.invoke('run').catch(() => undefined)
    await shard.givenUp
  })
})

describe('the console of a bundle', () => {
  it('writes to the log of the node, a bounded number of lines', async () => {
    await started('fresh')
    const run = "(_, n: number) => { for (let i = 0; i < n; i++) console.warn('line %d', i, { i }) }"
    await deploy('a.ts', functionsFile(`run: entryFunction()(${run})`))
    await shard.invoke('run', 1000)
    const { logged } = (await shard.ask({ kind: 'quarantined' })) as { logged: string[] }
    expect(logged[0]).toBe('warn: line 0 { i: 0 }')
    expect(logged).toHaveLength(100)
  })
})

describe('deploys', () => {
  it('replace all names of their file at once, and refuse the names of others', async () => {
    await started('fresh')
    expect(await deploy('a.ts', functionsFile('one: entryFunction()(() => 1), two: entryFunction()(() => 2)'))).toEqual(['one', 'two'])
    expect(await deploy('a.ts', functionsFile('two: entryFunction()(() => 22), three: entryFunction()(() => 3)'))).toEqual(['two', 'three'])
    await expect(shard.invoke('one')).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(shard.invoke('two')).resolves.toBe(22)
    await expect(deploy('b.ts', functionsFile('four: entryFunction()(() => 4), three: entryFunction()(() => 5)'))).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      message: expect.stringMatching(/"three" is defined by "a.ts"/),
    })
    await expect(shard.invoke('four')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('of something else than functions are refused', async () => {
    await started('fresh')
    await expect(deploy('a.ts', 'export default { one: () => 1 }')).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('defineFunctions'),
    })
    await expect(deploy('a.ts', 'export const one = 1')).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('missing'),
    })
    await expect(deploy('a.ts', `const missing = undefined as unknown as { x: number }\nexport default missing.x`)).rejects.toMatchObject({
      code: 'FUNCTION_FAILED',
      stack: expect.stringContaining('a.ts:2:24'),
    })
  })

  it('a thousand in a row leave memory flat', { timeout: 60_000 }, async () => {
    await started('fresh')
    const filler = Array.from({ length: 300 }, (_, i) => `export const f${i} = (n: number): string => "${'x'.repeat(100)}${i}" + n`).join(
      '\n',
    )
    await writeFile(join(folder, 'filler.ts'), filler)
    const base = await bundleOf(
      'many.ts',
      `import * as filler from './filler.ts'\n${functionsFile(`one: entryFunction()((_, n: number) => [n, Object.keys(filler).length])`)}`,
    )
    const text = new TextDecoder().decode(base.code)
    const versions = async (from: number, to: number): Promise<void> => {
      for (let i = from; i < to; i += 1) {
        const hash = i.toString(16).padStart(64, '0')
        await shard.ask({
          kind: 'load',
          file: 'many.ts',
          bundle: { hash, code: new TextEncoder().encode(`${text}//${i}`), sourceMap: base.sourceMap },
        })
        await shard.invoke('one', i)
      }
      return undefined
    }
    const measure = async (): Promise<{ heapUsed: number; rss: number }> =>
      (await shard.ask({ kind: 'memory' })) as { heapUsed: number; rss: number }
    await versions(0, 300)
    const before = await measure()
    await versions(300, 1300)
    const after = await measure()
    const codeBytes = 1000 * base.code.length
    expect(codeBytes).toBeGreaterThan(30e6)
    expect(after.heapUsed - before.heapUsed).toBeLessThan(1e6)
    expect(after.rss - before.rss).toBeLessThan(codeBytes / 2)
  })
})
