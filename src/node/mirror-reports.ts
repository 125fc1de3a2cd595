/**
 * What this node found in its durable mirrors, told to whoever leads: a value in the coordinator, since it must be there when nobody leads.
 *
 * Owns: the value under the name of this node. Does not: judge it (membership/restore-transitions.ts).
 */
import { messageOf } from '../base/errors.ts'
import type { NodeId, ShardId } from '../base/ids.ts'
import { coordinatorKeys } from '../membership/cluster-state.ts'
import type { Coordinator } from '../membership/coordinator-port.ts'
import type { FoundMirror, MirrorReport } from '../membership/restore-transitions.ts'
import type { Logger } from '../telemetry/logger.ts'
import { pause } from './pause.ts'
import { decodeJson, encodeJson } from './watched-table.ts'

export interface MirrorReportsOptions {
  readonly coordinator: Coordinator
  readonly self: { readonly id: NodeId; readonly name: string }
  readonly found: () => readonly FoundMirror[]
  readonly log: Logger
}

/** One copy as it travels: [partition, node, shard, givenUp, epoch, position, whole, complete, at]. */
type Row = readonly [number, string, string, number, number, number, 0 | 1, 0 | 1, string]
interface Value {
  readonly node: string
  readonly copies: readonly Row[]
}

const retryMs = 500

export class MirrorReports {
  readonly #options: MirrorReportsOptions
  readonly #stopping = new AbortController()
  #isDue = false
  #writing: Promise<void> | undefined

  constructor(options: MirrorReportsOptions) {
    this.#options = options
  }

  /** It has changed; resolves when it is written, which is tried again and again, or this stops. */
  changed(): Promise<void> {
    this.#isDue = true
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined
    })
    return this.#writing
  }

  stop(): void {
    this.#stopping.abort()
  }

  async #write(): Promise<void> {
    const { signal } = this.#stopping
    while (this.#isDue && !signal.aborted) {
      this.#isDue = false
      try {
        await this.#put()
      } catch (error) {
        this.#isDue = true
        this.#options.log.warn('what the durable mirror holds could not be reported; trying again', { reason: messageOf(error) })
        await pause(retryMs, signal)
      }
    }
  }

  async #put(): Promise<void> {
    const { coordinator, self, found } = this.#options
    const key = coordinatorKeys.mirrors(self.name)
    const value = encodeJson(encodeReport({ node: self.id, copies: found() }))
    for (;;) {
      const known = await coordinator.read(key)
      const outcome = await coordinator.compareAndSet(key, known?.version ?? 0, value)
      if (outcome.kind === 'done') return
    }
  }
}

const encodeReport = ({ node, copies }: MirrorReport): Value => ({
  node,
  copies: copies.map(({ partition, of, givenUp, last, whole, complete, at }) => [
    partition,
    of.node,
    of.shard,
    givenUp,
    last.epoch,
    last.position,
    whole ? 1 : 0,
    complete ? 1 : 0,
    at,
  ]),
})

/** What all nodes have reported. */
export async function readReports(coordinator: Coordinator): Promise<MirrorReport[]> {
  const values = await coordinator.list(coordinatorKeys.mirrorsPrefix)
  return values.map(({ value }) => decodeReport(value))
}

export function decodeReport(bytes: Uint8Array): MirrorReport {
  const { node, copies } = decodeJson<Value>(bytes)
  return {
    node: node as NodeId,
    copies: copies.map(([partition, ofNode, ofShard, givenUp, epoch, position, whole, complete, at]) => ({
      partition,
      of: { node: ofNode as NodeId, shard: ofShard as ShardId },
      givenUp,
      last: { epoch, position },
      whole: whole === 1,
      complete: complete === 1,
      at: at as ShardId,
    })),
  }
}
