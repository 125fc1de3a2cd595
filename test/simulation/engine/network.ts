/**
 * The network between hosts: every message is lost, delayed, duplicated or overtaken by its own luck; a direction between two hosts
 * can be cut. Within a host messages are reliable and quick, but come in any order between different senders.
 *
 * Harsher than the streams that production uses, on purpose: the protocol was checked against such a network.
 */
import { type Random } from '../../../src/base/random.ts'
import type { Actor } from './actor.ts'
import type { Counters } from './counters.ts'
import type { Scheduler } from './scheduler.ts'

export interface NetworkLuck {
  /** Probabilities per message. */
  readonly loss: number
  readonly duplicate: number
  /** A message that comes seconds late, after whatever happened since. */
  readonly straggle: number
  readonly meanDelayMs: number
  /** Messages of one kind that come late more often, and later. */
  readonly late?: { readonly kind: string; readonly part: number; readonly maxMs: number }
}

export const calmLuck: NetworkLuck = { loss: 0.001, duplicate: 0.001, straggle: 0.0005, meanDelayMs: 0.8 }

export interface Endpoint {
  readonly actor: Actor
  /** A message as it was sent, by reference: nobody may change one. */
  receive(from: string, message: unknown): void
}

export const hostOf = (address: string): string => address.slice(0, address.indexOf(':'))

const kindOf = (message: unknown): unknown =>
  typeof message === 'object' && message !== null && 'kind' in message ? message.kind : undefined

const straggleMaxMs = 4000

export class Network {
  luck: NetworkLuck
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #counters: Counters
  readonly #endpoints = new Map<string, Endpoint>()
  /** "from>to" hosts, with how many faults cut them. */
  readonly #cuts = new Map<string, number>()

  constructor(scheduler: Scheduler, random: Random, counters: Counters, luck: NetworkLuck) {
    this.#scheduler = scheduler
    this.luck = luck
    this.#random = random
    this.#counters = counters
  }

  attach(address: string, endpoint: Endpoint): void {
    this.#endpoints.set(address, endpoint)
  }

  detach(address: string): void {
    this.#endpoints.delete(address)
  }

  cut(fromHost: string, toHost: string): void {
    const name = `${fromHost}>${toHost}`
    this.#cuts.set(name, (this.#cuts.get(name) ?? 0) + 1)
  }

  heal(fromHost: string, toHost: string): void {
    const name = `${fromHost}>${toHost}`
    this.#cuts.set(name, (this.#cuts.get(name) ?? 1) - 1)
  }

  isCut(fromHost: string, toHost: string): boolean {
    return fromHost !== toHost && (this.#cuts.get(`${fromHost}>${toHost}`) ?? 0) > 0
  }

  /** Whether a connection between the two could be made now. */
  canConnect(a: string, b: string): boolean {
    return !this.isCut(a, b) && !this.isCut(b, a)
  }

  /** `mayRepeat` false: like on a stream, it comes once or never. An address is "host:port", and stays the same when another process starts there. */
  send(from: { readonly address: string; readonly host: string }, to: string, message: unknown, mayRepeat = true): void {
    const host = hostOf(to)
    const isLocal = host === from.host
    if (this.isCut(from.host, host)) return this.#counters.add('network.cut')
    const random = this.#random
    if (!isLocal && random.next() < this.luck.loss) return this.#counters.add('network.lost')
    const copies = !isLocal && mayRepeat && random.next() < this.luck.duplicate ? 2 : 1
    if (copies === 2) this.#counters.add('network.duplicated')
    for (let i = 0; i < copies; i += 1) {
      this.#scheduler.after(this.#delayMs(isLocal, message), () => {
        // What is on the way when a direction is cut is lost with it.
        if (this.isCut(from.host, host)) return this.#counters.add('network.cut')
        const endpoint = this.#endpoints.get(to)
        if (endpoint === undefined) return this.#counters.add('network.toNobody')
        endpoint.actor.deliver(() => endpoint.receive(from.address, message))
      })
    }
  }

  #delayMs(isLocal: boolean, message: unknown): number {
    const random = this.#random
    const { late } = this.luck
    if (late !== undefined && !isLocal && kindOf(message) === late.kind && random.next() < late.part) {
      this.#counters.add('network.straggled')
      return random.next() * late.maxMs
    }
    if (isLocal) return 0.01 + random.next() * 0.05
    if (random.next() < this.luck.straggle) {
      this.#counters.add('network.straggled')
      return random.next() * straggleMaxMs
    }
    // Exponential: now and then one overtakes another.
    return 0.1 - Math.log(1 - random.next()) * this.luck.meanDelayMs
  }
}
