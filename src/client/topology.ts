/**
 * The client's copy of the cluster description: follows `Admin.Watch` of one endpoint and moves on to another when it fails.
 * Owns: which endpoint is asked, back-off with jitter between tries, never going back to an older version of the same cluster. Does not: open pipes.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf, NearstateError } from '../base/errors.ts'
import { createGrpcClient, type GrpcClient } from '../transport/grpc/client.ts'
import { AdminDefinition, type ClusterDescription } from '../wire/generated/nearstate/v1/admin.ts'

export type AdminClient = GrpcClient<typeof AdminDefinition>

export interface TopologyListener {
  onDescription(description: ClusterDescription): void
  onConnected(endpoint: string): void
  onDisconnected(endpoint: string, error: NearstateError): void
}

const backoffFirstMs = 50
const backoffMaxMs = 2000
const refreshAfterMs = 200
const refreshAgainAfterMs = 800
const describeTimeoutMs = 500

export class Topology {
  readonly #given: readonly string[]
  readonly #listener: TopologyListener
  readonly #stopping = new AbortController()
  readonly #clients = new Map<string, AdminClient>()
  #current: ClusterDescription | undefined
  #endpoint: string
  #watching: Promise<void> = Promise.resolve()
  #lastError: NearstateError | undefined
  /** Ends the stream that is followed now. */
  #moving = new AbortController()
  /** The endpoint to follow next, in place of the one whose turn it is. */
  #next: string | undefined
  #refreshing: Promise<void> | undefined

  constructor(endpoints: readonly string[], listener: TopologyListener) {
    this.#given = endpoints
    this.#endpoint = endpoints[0] as string
    this.#listener = listener
  }

  get current(): ClusterDescription | undefined {
    return this.#current
  }

  /** The admin service of the endpoint that answered last. */
  get admin(): AdminClient {
    return this.#clientOf(this.#endpoint)
  }

  /** Resolves with the first description; UNAVAILABLE naming every endpoint tried when none comes within `timeoutMs`. */
  async start(timeoutMs: number): Promise<void> {
    const first = Promise.withResolvers<undefined>()
    this.#watching = this.#follow(first)
    const timer = setTimeout(() => {
      const why = this.#lastError === undefined ? 'no answer' : this.#lastError.message
      first.reject(
        new NearstateError('UNAVAILABLE', `Cannot reach the cluster at ${this.#given.join(', ')} within ${timeoutMs} ms: ${why}`),
      )
    }, timeoutMs)
    try {
      await first.promise
    } catch (failure) {
      await this.stop()
      throw failure
    } finally {
      clearTimeout(timer)
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#watching
    await this.#refreshing
    for (const client of this.#clients.values()) client.close()
    this.#clients.clear()
  }

  /**
   * Somebody knows of a newer description, or a node is silent: the endpoint that is followed may be cut off with it. Asks the others, and
   * follows the first one that knows better. One round at a time; a fruitless one is not repeated soon.
   */
  refresh(): void {
    if (this.#refreshing !== undefined || this.#stopping.signal.aborted) return
    this.#refreshing = this.#askOthers().finally(() => {
      this.#refreshing = undefined
    })
  }

  async #askOthers(): Promise<void> {
    const { signal } = this.#stopping
    // What the followed endpoint knows is mostly on its way already.
    await pause(refreshAfterMs, signal)
    for (const endpoint of this.#endpoints()) {
      if (signal.aborted) return
      if (endpoint === this.#endpoint) continue
      const known = this.#current?.version ?? 0n
      try {
        const description = await this.#clientOf(endpoint).describe({}, { timeoutMs: describeTimeoutMs, signal })
        if (description.version <= known) continue
        this.#next = endpoint
        this.#take(description, false)
        this.#moving.abort()
        return
      } catch {
        // The next one may answer.
      }
    }
    await pause(refreshAgainAfterMs, signal)
  }

  async #follow(first: PromiseWithResolvers<undefined>): Promise<void> {
    let backoffMs = backoffFirstMs
    for (let attempt = 0; !this.#stopping.signal.aborted; attempt += 1) {
      const endpoints = this.#endpoints()
      const endpoint = this.#next ?? (endpoints[attempt % endpoints.length] as string)
      this.#next = undefined
      this.#moving = new AbortController()
      const signal = AbortSignal.any([this.#stopping.signal, this.#moving.signal])
      let connected = false
      let fresh = true
      try {
        for await (const description of this.#clientOf(endpoint).watch({}, { signal })) {
          if (!connected) {
            connected = true
            backoffMs = backoffFirstMs
            this.#endpoint = endpoint
            this.#listener.onConnected(endpoint)
          }
          this.#take(description, fresh)
          fresh = false
          first.resolve(undefined)
        }
        this.#lastError = new NearstateError('UNAVAILABLE', `the node at ${endpoint} has ended the stream`)
      } catch (thrown) {
        this.#lastError = thrown instanceof NearstateError ? thrown : new NearstateError('INTERNAL', messageOf(thrown), { cause: thrown })
      }
      if (this.#stopping.signal.aborted) return
      if (this.#moving.signal.aborted) this.#lastError = new NearstateError('UNAVAILABLE', `the node at ${endpoint} is behind others`)
      if (connected) this.#listener.onDisconnected(endpoint, this.#lastError)
      // Another endpoint may be there at once; after a round of all of them the wait grows.
      if (attempt % endpoints.length === endpoints.length - 1) {
        await pause(backoffMs * (0.5 + Math.random()), this.#stopping.signal)
        backoffMs = Math.min(backoffMaxMs, backoffMs * 2)
      }
    }
  }

  /** Those given first, then those of members learned since. */
  #endpoints(): readonly string[] {
    const learned = this.#current?.members.filter(member => member.status === 'alive').map(member => member.address) ?? []
    return [...new Set([...this.#given, ...learned])]
  }

  /** `first` of a stream: the cluster may have been started anew meanwhile, with versions from 1 and none of the old members. */
  #take(description: ClusterDescription, first: boolean): void {
    const known = this.#current
    if (known !== undefined && description.version <= known.version) {
      const sameCluster = description.members.some(member => known.members.some(old => old.id === member.id))
      if (!first || sameCluster || description.members.length === 0) return
    }
    this.#current = description
    this.#listener.onDescription(description)
  }

  #clientOf(endpoint: string): AdminClient {
    let client = this.#clients.get(endpoint)
    if (client === undefined) {
      client = createGrpcClient(AdminDefinition, endpoint, { messageMaxBytes: 32 * 1024 * 1024 })
      this.#clients.set(endpoint, client)
    }
    return client
  }
}

async function pause(forMs: number, signal: AbortSignal): Promise<void> {
  await sleep(forMs, undefined, { signal }).catch(() => {
    // stopped
  })
}
