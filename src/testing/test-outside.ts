/**
 * What a job in a test reaches outside: the log, maps that `lookup` reads, HTTP as the test answers it.
 *
 * Lookups are answered by steps of their own, in their order, or as `random` draws them.
 */
import { invalidArgument, NearstateError } from '../base/errors.ts'
import { type Random, randomInteger } from '../base/random.ts'
import type { FetchOptions } from '../streaming/graph/async-options.ts'
import type { Outside } from '../streaming/ports.ts'
import { MemorySinks } from './memory-sinks.ts'
import type { TestMap } from './test-map.ts'

/** What a request is answered with: status (default 200), headers, and the body as text or bytes. */
export interface TestAnswer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}

export type TestFetch = (url: string, options: FetchOptions) => TestAnswer | Promise<TestAnswer>

export interface TestOutsideOptions {
  readonly maps: ReadonlyMap<string, TestMap>
  readonly random: Random | undefined
  readonly fetch: TestFetch | undefined
}

export class TestOutside {
  readonly #options: TestOutsideOptions
  readonly #lines = new Map<string, string[]>()
  readonly #sinks = new MemorySinks()
  #answers: (() => void)[] = []

  constructor(options: TestOutsideOptions) {
    this.#options = options
  }

  logOf(stage: string): readonly string[] {
    return [...(this.#lines.get(stage) ?? [])]
  }

  /** Rows that a sink of the node has made visible. */
  outputOf(stage: string): readonly unknown[] {
    return this.#sinks.visibleOf(stage)
  }

  /** With `random`: now and then an answer before everything else that could happen. */
  answerEarly(): boolean {
    const { random } = this.#options
    return random !== undefined && randomInteger(random, 4) === 0 && this.answer()
  }

  /** One answer; false: nothing is asked. */
  answer(): boolean {
    const { random } = this.#options
    const { length } = this.#answers
    if (length === 0) return false
    const [answer] = this.#answers.splice(random === undefined ? 0 : randomInteger(random, length), 1)
    answer?.()
    return true
  }

  /** Another attempt begins: nobody waits for the answers to the one before. */
  ofAttempt(): Outside {
    this.#answers = []
    return {
      wake: () => undefined,
      sinkConnector: () => this.#sinks,
      run: (_stage, act, done) => {
        const acting = async (): Promise<unknown> => act()
        acting().then(
          value => done(undefined, value),
          (thrown: unknown) => done(thrown ?? new Error(`threw ${String(thrown)}`), undefined),
        )
      },
      log: (stage, text) => void this.#linesOf(stage).push(text),
      lookup: (map, key, done) => void this.#answers.push(() => done(undefined, this.#options.maps.get(map)?.find(key))),
      fetch: (_stage, url, options, done) => {
        let isOver = false
        this.#fetch(url, options).then(
          ({ status = 200, headers = {}, body = '' }) => {
            if (isOver) return
            const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body
            const text = (): string => new TextDecoder().decode(bytes)
            done(undefined, { status, headers, body: bytes, text, json: () => JSON.parse(text()) as unknown })
          },
          (thrown: unknown) => {
            if (!isOver) done(thrown, undefined)
          },
        )
        return () => {
          isOver = true
        }
      },
    }
  }

  async #fetch(url: string, options: FetchOptions): Promise<TestAnswer> {
    const { fetch } = this.#options
    if (fetch === undefined) throw invalidArgument(`Cannot fetch ${url}: testJob was given no { fetch } that answers`)
    const answer = await fetch(url, options)
    if (typeof answer !== 'object' || answer === null) throw new NearstateError('INVALID_ARGUMENT', 'the fetch of testJob gave no answer')
    return answer
  }

  #linesOf(stage: string): string[] {
    const lines = this.#lines.get(stage) ?? []
    this.#lines.set(stage, lines)
    return lines
  }
}
