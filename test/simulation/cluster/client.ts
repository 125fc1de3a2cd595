/**
 * A client: calls with deadlines on a few keys, several in flight, each written down in the history. Writes of sessions are tried
 * again under the same number when an answer stays away; others only when they were told that nothing was done.
 */
import { assert } from '../../../src/base/assert.ts'
import { randomInteger, type Random } from '../../../src/base/random.ts'
import type { ClusterView } from '../../../src/membership/cluster-state.ts'
import type { Actor } from '../engine/actor.ts'
import type { Counters } from '../engine/counters.ts'
import type { Network } from '../engine/network.ts'
import type { Trace } from '../engine/trace.ts'
import type { History, KeyCall, KeyOperation } from '../history.ts'
import type { CallAnswer, ClientAnswer, ClientOutcome, ClientRequest, RequestTicket } from './client-messages.ts'

export interface ClientOptions {
  readonly keys: readonly { readonly key: string; readonly partition: number }[]
  readonly callsPerSecond: number
  readonly untilMs: number
  readonly inFlightMax: number
  /** Part of the writes that are timed. */
  readonly timedPart: number
  readonly readPart: number
  readonly anyReadPart: number
  readonly deadlineMs: number
  /** After this without an answer the call is sent again. */
  readonly attemptMs: number
  /** Where control threads can be asked for the table. */
  readonly controlAddresses: () => readonly string[]
  readonly isSessioned: boolean
  readonly sessionTtlMs: number
}

interface Running {
  readonly call: KeyCall
  readonly startedAtMs: number
  number: number | undefined
  ticket: string | undefined
  /** An attempt that was sent and has neither been answered nor refused: it may still take effect. */
  isInDoubt: boolean
  attempts: number
  refusals: number
}

interface PartitionSession {
  ticket: string | undefined
  /** When the last call was sent under this ticket that was answered: a contact for certain. */
  contactAtMs: number
  nextNumber: number
  readonly unanswered: Set<number>
}

export class SimulatedClient {
  readonly address: string
  readonly actor: Actor
  readonly #network: Network
  readonly #random: Random
  readonly #history: History
  readonly #counters: Counters
  readonly #trace: Trace
  readonly #trueNowMs: () => number
  readonly #options: ClientOptions
  #view: ClusterView | undefined
  readonly #sessions = new Map<number, PartitionSession>()
  #nextId = 0
  #nextValue = 0
  readonly #waiting = new Map<number, (outcome: ClientOutcome) => void>()
  #inFlight = 0
  /** The last value seen per key: what a `compare` expects. */
  readonly #lastSeen = new Map<string, string | undefined>()
  /** Every answer to a named request, late ones too. */
  onTold: (request: string, answer: CallAnswer) => void = () => {}
  /** A read that any replica answered. */
  onAnyRead: (key: string, value: string | undefined) => void = () => {}
  /** A session that was in contact is not known. */
  onForgotten: (text: string) => void = () => {}
  readonly #requestNames = new Map<number, string>()

  constructor(
    actor: Actor,
    network: Network,
    random: Random,
    history: History,
    counters: Counters,
    trace: Trace,
    trueNowMs: () => number,
    options: ClientOptions,
  ) {
    this.actor = actor
    this.address = `${actor.name}:0`
    this.#network = network
    this.#random = random
    this.#history = history
    this.#counters = counters
    this.#trace = trace
    this.#trueNowMs = trueNowMs
    this.#options = options
    network.attach(this.address, { actor, receive: (_, message) => this.#receive(message as ClientAnswer) })
  }

  /** The partition's data was given up, and its sessions with it. */
  handleGivenUp(partition: number): void {
    this.#sessions.delete(partition)
  }

  start(): void {
    this.#refresh()
    this.#next()
  }

  #next(): void {
    const meanMs = 1000 / this.#options.callsPerSecond
    this.actor.after(-Math.log(1 - this.#random.next()) * meanMs, () => {
      if (this.#trueNowMs() >= this.#options.untilMs) return
      if (this.#inFlight < this.#options.inFlightMax) this.#begin()
      this.#next()
    })
  }

  #begin(): void {
    const { keys } = this.#options
    const { key, partition } = keys[randomInteger(this.#random, keys.length)] ?? { key: '', partition: 0 }
    const operation = this.#drawOperation(key)
    if (operation.kind === 'get' && this.#options.anyReadPart > 0 && this.#random.next() < this.#options.anyReadPart)
      return this.#readAny(key, partition)
    const call = this.#history.begin(this.actor.name, key, partition, operation, this.#trueNowMs())
    const running: Running = {
      call,
      startedAtMs: this.actor.nowMs(),
      number: undefined,
      ticket: undefined,
      isInDoubt: false,
      attempts: 0,
      refusals: 0,
    }
    this.#inFlight += 1
    this.#attempt(running)
  }

  #readAny(key: string, partition: number): void {
    const record = this.#view?.state.partitions[partition]
    const replicas = record?.primary === undefined ? [] : [record.primary, ...record.backups]
    const to = this.#addressOf(replicas[randomInteger(this.#random, Math.max(1, replicas.length))]?.shard)
    if (to === undefined) return this.#refresh()
    const operation = { kind: 'get' } as const
    this.#ask(
      to,
      id => ({ kind: 'call', id, partition, key, operation, timeToLiveMs: this.#options.attemptMs, ticket: undefined, isAny: true }),
      outcome => {
        if (outcome?.kind === 'done' && outcome.answer.kind === 'value') this.onAnyRead(key, outcome.answer.value)
        else this.#refresh()
      },
    )
  }

  #drawOperation(key: string): KeyOperation {
    const draw = this.#random.next()
    if (draw < this.#options.readPart) return { kind: 'get' }
    const write = (draw - this.#options.readPart) / (1 - this.#options.readPart)
    if (write < 0.1) return { kind: 'remove' }
    this.#nextValue += 1
    const value = `${this.actor.name}.${this.#nextValue}`
    if (write < 0.25 && this.#lastSeen.has(key)) return { kind: 'compare', expected: this.#lastSeen.get(key), value }
    return { kind: 'swap', value, isTimed: this.#random.next() < this.#options.timedPart }
  }

  #attempt(running: Running): void {
    const { call } = running
    const leftMs = this.#options.deadlineMs - (this.actor.nowMs() - running.startedAtMs)
    if (leftMs <= 0) return this.#finish(running, undefined)
    const primary = this.#primaryOf(call.partition)
    if (primary === undefined) {
      this.#refresh()
      return this.#againIn(running, 40)
    }
    const isWrite = call.operation.kind !== 'get'
    let ticket: RequestTicket | undefined
    if (isWrite && this.#options.isSessioned) {
      const session = this.#sessionOf(call.partition)
      if (session.ticket === undefined) {
        // A number belongs to its ticket: a call that may have happened under another one is not repeated.
        if (running.isInDoubt) return this.#finish(running, undefined)
        return this.#open(call.partition, primary, () => this.#againIn(running, 1))
      }
      if (running.number === undefined || running.ticket !== session.ticket) {
        if (running.isInDoubt) return this.#finish(running, undefined)
        running.number = session.nextNumber
        running.ticket = session.ticket
        session.nextNumber += 1
        session.unanswered.add(running.number)
      }
      ticket = {
        session: this.#sessionName(),
        ticket: session.ticket,
        number: running.number,
        lowestUnanswered: Math.min(...session.unanswered),
      }
    }
    running.attempts += 1
    if (running.attempts > 1) this.#counters.add('client.retry')
    if (isWrite) running.isInDoubt = true
    const { key, operation, partition } = call
    this.#ask(
      primary,
      id => ({ kind: 'call', id, partition, key, operation, timeToLiveMs: this.#options.attemptMs, ticket, isAny: false }),
      outcome => this.#handle(running, outcome),
    )
  }

  #handle(running: Running, outcome: ClientOutcome | undefined): void {
    const { call } = running
    const isWrite = call.operation.kind !== 'get'
    if (outcome === undefined || outcome.kind === 'outcomeUnknown') {
      this.#counters.add(outcome === undefined ? 'client.attemptTimedOut' : 'client.outcomeUnknown')
      this.#refresh()
      if (isWrite && !this.#options.isSessioned) return this.#finish(running, undefined)
      return this.#againIn(running, 20)
    }
    switch (outcome.kind) {
      case 'done':
        return this.#finish(running, outcome.answer)
      case 'refused':
        this.#counters.add(`client.refused`)
        // This attempt did nothing; an earlier one may have.
        if (running.attempts === 1) running.isInDoubt = false
        this.#refresh()
        return this.#againIn(running, Math.min(240, 15 * 2 ** Math.min(running.refusals++, 4)))
      case 'sessionUnknown': {
        this.#counters.add('client.sessionUnknown')
        const session = this.#sessionOf(call.partition)
        if (session.ticket === running.ticket && session.ticket !== undefined) {
          const sinceMs = this.#trueNowMs() - session.contactAtMs
          if (sinceMs < this.#options.sessionTtlMs * 0.95) {
            this.onForgotten(
              `partition ${call.partition} forgot ticket ${session.ticket} of ${this.actor.name}, ${sinceMs.toFixed(0)} ms after a contact`,
            )
          }
          session.ticket = undefined
        }
        if (running.attempts > 1) {
          this.#counters.add('client.sessionUnknown.retry')
          return this.#finish(running, undefined)
        }
        running.isInDoubt = false
        running.attempts = 0
        return this.#againIn(running, 1)
      }
      case 'opened':
      case 'topology':
        assert(false, `an answer ${outcome.kind} to a call`)
    }
  }

  #againIn(running: Running, ms: number): void {
    this.actor.after(ms * (0.5 + this.#random.next()), () => this.#attempt(running))
  }

  #finish(running: Running, answer: CallAnswer | undefined): void {
    const { call } = running
    this.#inFlight -= 1
    call.answeredAtMs = this.#trueNowMs()
    if (answer?.kind === 'full') call.isVoid = true
    else call.answer = answer
    if (answer === undefined) call.isVoid = call.operation.kind === 'get' || !running.isInDoubt
    if (answer === undefined && !call.isVoid) this.#counters.add('client.unknown')
    if (answer !== undefined) this.#counters.add(`client.done.${call.operation.kind}`)
    if (running.number !== undefined) {
      const session = this.#sessionOf(call.partition)
      if (session.ticket === running.ticket) {
        session.unanswered.delete(running.number)
        if (answer !== undefined) session.contactAtMs = Math.max(session.contactAtMs, running.call.calledAtMs)
      }
    }
    if (answer?.kind === 'value') this.#lastSeen.set(call.key, answer.value)
    if (answer?.kind === 'value' && call.operation.kind === 'swap') this.#lastSeen.set(call.key, call.operation.value)
    if (answer !== undefined && call.operation.kind === 'remove') this.#lastSeen.set(call.key, undefined)
  }

  #sessionName(): string {
    return `${this.actor.name}/s`
  }

  #sessionOf(partition: number): PartitionSession {
    let session = this.#sessions.get(partition)
    if (session === undefined) {
      session = { ticket: undefined, contactAtMs: Number.NEGATIVE_INFINITY, nextNumber: 1, unanswered: new Set() }
      this.#sessions.set(partition, session)
    }
    return session
  }

  #open(partition: number, primary: string, then: () => void): void {
    this.#ask(
      primary,
      id => ({ kind: 'openSession', id, partition, session: this.#sessionName() }),
      outcome => {
        const session = this.#sessionOf(partition)
        if (outcome?.kind === 'opened') {
          // Another call may have opened it meanwhile; then this ticket is left to expire.
          if (session.ticket === undefined) {
            session.ticket = outcome.ticket
            session.contactAtMs = Number.NEGATIVE_INFINITY
            session.nextNumber = 1
            session.unanswered.clear()
          }
          this.#counters.add('client.sessionOpened')
        } else this.#refresh()
        then()
      },
    )
  }

  #primaryOf(partition: number): string | undefined {
    return this.#addressOf(this.#view?.state.partitions[partition]?.primary?.shard)
  }

  #addressOf(shard: string | undefined): string | undefined {
    return this.#view?.state.members.flatMap(({ shards }) => shards).find(({ id }) => id === shard)?.address
  }

  #refresh(): void {
    const addresses = this.#options.controlAddresses()
    const address = addresses[randomInteger(this.#random, Math.max(1, addresses.length))]
    if (address === undefined) {
      this.actor.after(200, () => this.#refresh())
      return
    }
    this.#ask(
      address,
      id => ({ kind: 'topology', id }),
      outcome => {
        if (outcome?.kind !== 'topology' || outcome.view === undefined) return
        if (this.#view === undefined || outcome.view.version > this.#view.version) this.#view = outcome.view
      },
    )
  }

  #ask(to: string, make: (id: number) => ClientRequest, handle: (outcome: ClientOutcome | undefined) => void): void {
    const id = this.#nextId
    this.#nextId += 1
    this.#waiting.set(id, handle)
    const request = make(id)
    if (request.kind === 'call' && request.ticket !== undefined) {
      this.#requestNames.set(id, `${request.partition}/${request.ticket.ticket}/${request.ticket.number}`)
    }
    this.#trace.add(this.#trueNowMs(), this.actor.name, () => `asks ${to}: ${JSON.stringify({ ...request, kind: undefined })}`)
    // Whoever sends a write without a name must not have it come twice.
    const mayRepeat = request.kind !== 'call' || request.ticket !== undefined
    this.#network.send({ address: this.address, host: this.actor.host }, to, request, mayRepeat)
    this.actor.after(this.#options.attemptMs, () => {
      if (this.#waiting.delete(id)) handle(undefined)
    })
  }

  #receive(message: ClientAnswer): void {
    const name = this.#requestNames.get(message.id)
    if (name !== undefined && message.outcome.kind === 'done') this.onTold(name, message.outcome.answer)
    const handle = this.#waiting.get(message.id)
    if (handle === undefined) return
    this.#waiting.delete(message.id)
    this.#trace.add(
      this.#trueNowMs(),
      this.address,
      () => `is told ${message.id}: ${message.outcome.kind === 'topology' ? 'topology' : JSON.stringify(message.outcome)}`,
    )
    handle(message.outcome)
  }
}
