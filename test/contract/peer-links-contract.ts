/** What every kind of link between shards keeps. `make` gives two shards that reach each other, and a way to cut what is open. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ShardId } from '../../src/base/ids.ts'
import type { ShardPeerLinks } from '../../src/transport/peer-links.ts'
import type { PeerListener, PeerMessageKind } from '../../src/transport/ports.ts'
import { eventually } from './eventually.ts'

export class RecordingListener implements PeerListener {
  readonly messages: { from: string; kind: PeerMessageKind; text: string }[] = []
  readonly downs: string[] = []
  readonly drains: string[] = []
  receivedBytes = 0

  onPeerMessage(from: ShardId, kind: PeerMessageKind, bytes: Uint8Array): void {
    this.receivedBytes += bytes.length
    this.messages.push({ from, kind, text: Buffer.from(bytes.subarray(0, 64)).toString() })
  }

  onPeerDown(peer: ShardId): void {
    this.downs.push(peer)
  }

  onPeerDrain(peer: ShardId): void {
    this.drains.push(peer)
  }
}

export interface LinkedPair {
  readonly a: ShardPeerLinks
  readonly b: ShardPeerLinks
  readonly onA: RecordingListener
  readonly onB: RecordingListener
  /** Breaks the links that are open; new ones can be opened unless `forGood`. */
  readonly cut: () => void | Promise<void>
  readonly isCutForGood: boolean
  stop(): Promise<void>
}

export const shardA = 'shard-a' as ShardId
export const shardB = 'shard-b' as ShardId
export const highWaterBytes = 64 * 1024

export function peerLinksContract(name: string, make: () => Promise<LinkedPair>): void {
  describe(`peer links: ${name}`, () => {
    let pair: LinkedPair
    beforeEach(async () => {
      pair = await make()
    })
    afterEach(() => pair.stop())

    const text = (what: string): Uint8Array => Buffer.from(what)

    test('messages come in order, with sender and kind, in both directions', async () => {
      const kinds = ['exchange', 'operations', 'replication'] as const
      for (let i = 0; i < 200; i += 1) pair.a.send(shardB, kinds[i % 3] as PeerMessageKind, text(`m${i}`))
      pair.b.send(shardA, 'results', text('back'))
      await eventually(() => pair.onB.messages.length).toBe(200)
      expect(pair.onB.messages.map(message => message.text)).toEqual(Array.from({ length: 200 }, (_, i) => `m${i}`))
      expect(pair.onB.messages.slice(0, 3).map(({ from, kind }) => [from, kind])).toEqual([
        [shardA, 'exchange'],
        [shardA, 'operations'],
        [shardA, 'replication'],
      ])
      await eventually(() => pair.onA.messages).toEqual([{ from: shardB, kind: 'results', text: 'back' }])
      expect([...pair.onA.downs, ...pair.onB.downs]).toEqual([])
    })

    test('the sender may reuse its bytes at once', async () => {
      const bytes = Buffer.from('first')
      pair.a.send(shardB, 'exchange', bytes)
      bytes.write('XXXXX')
      await eventually(() => pair.onB.messages[0]?.text).toBe('first')
    })

    test('a sender that is ahead is told so, loses nothing, and hears when it may go on', async () => {
      const frame = new Uint8Array(16 * 1024)
      let sent = 0
      while (pair.a.send(shardB, 'exchange', frame)) {
        sent += frame.length
        expect(sent).toBeLessThanOrEqual(highWaterBytes)
      }
      sent += frame.length
      await eventually(() => pair.onA.drains).toEqual([shardB])
      await eventually(() => pair.onB.receivedBytes).toBe(sent)
      expect(pair.a.send(shardB, 'exchange', frame)).toBe(true)
    })

    test('a cut link is reported at both ends, and a later send opens a new one', async () => {
      pair.a.send(shardB, 'exchange', text('before'))
      await eventually(() => pair.onB.messages.length).toBe(1)
      await pair.cut()
      await eventually(() => pair.onA.downs.length).toBeGreaterThan(0)
      await eventually(() => pair.onB.downs.length).toBeGreaterThan(0)
      if (pair.isCutForGood) return
      pair.a.send(shardB, 'exchange', text('after'))
      await eventually(() => pair.onB.messages.at(-1)?.text).toBe('after')
    })

    test('a stopped shard is down for its peers and says nothing itself', async () => {
      pair.a.send(shardB, 'exchange', text('before'))
      await eventually(() => pair.onB.messages.length).toBe(1)
      await pair.b.stop()
      await eventually(() => pair.onA.downs.length).toBeGreaterThan(0)
      expect(pair.onB.downs).toEqual([])
      expect(pair.b.send(shardA, 'exchange', text('nobody hears it'))).toBe(true)
    })
  })
}
