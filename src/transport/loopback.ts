/** Links between shards within one process, for tests and simulation: no sockets, order kept, delivery in a later microtask. */
import { NearstateError } from '../base/errors.ts'
import type { ShardId } from '../base/ids.ts'
import { createPeerLinks, type Dial, type IncomingLink, type PeerLinksOptions, type ShardPeerLinks } from './peer-links.ts'

export class LoopbackNetwork {
  readonly #shards = new Map<string, ShardPeerLinks>()
  readonly #cut = new Set<() => void>()

  /** A shard of this network; its address is its id. */
  join(options: Omit<PeerLinksOptions, 'dial' | 'addressOf'>): ShardPeerLinks {
    const addressOf = (shard: ShardId): string | undefined => (this.#shards.has(shard) ? shard : undefined)
    const links = createPeerLinks({ ...options, addressOf, dial: this.#dial })
    this.#shards.set(options.self, links)
    return links
  }

  leave(shard: ShardId): void {
    this.#shards.delete(shard)
  }

  /** Breaks every stream that is open now. */
  cutAll(): void {
    for (const cut of this.#cut) cut()
  }

  readonly #dial: Dial = (address, hello, events) => {
    let incoming: IncomingLink | undefined
    let down = false
    const end = (error: NearstateError): void => {
      if (down) return
      down = true
      this.#cut.delete(cut)
      incoming?.ended()
      events.onDown(error)
    }
    const cut = (): void => end(new NearstateError('UNAVAILABLE', `the link to ${address} was cut`))
    this.#cut.add(cut)
    queueMicrotask(() => {
      try {
        const target = this.#shards.get(address)
        if (target === undefined) throw new NearstateError('UNAVAILABLE', `no shard at ${address}`)
        if (!down) incoming = target.accept(hello, cut)
      } catch (thrown) {
        end(thrown as NearstateError)
      }
    })
    return {
      send: (kind, bytes) => {
        const copy = new Uint8Array(bytes)
        queueMicrotask(() => {
          if (down) return
          incoming?.receive(kind, copy)
          events.onSent(copy.length)
        })
      },
      close: () => {
        down = true
        this.#cut.delete(cut)
        incoming?.ended()
      },
    }
  }
}
