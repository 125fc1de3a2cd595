/** Incoming peer streams: the first message is a hello, the others go to the shard's links. */
import { invalidArgument, NearstateError } from '../../base/errors.ts'
import type { ShardId } from '../../base/ids.ts'
import { PeerDefinition, type PeerMessage } from '../../wire/generated/nearstate/v1/peer.ts'
import type { IncomingLink, ShardPeerLinks } from '../peer-links.ts'
import type { DuplexCall, DuplexListener } from './duplex-call.ts'
import { type BoundService, bindService } from './service.ts'

export function peerService(links: ShardPeerLinks): BoundService {
  return bindService(PeerDefinition, { link: call => serveLink(links, call) })
}

function serveLink(links: ShardPeerLinks, call: DuplexCall<PeerMessage, PeerMessage>): DuplexListener<PeerMessage> {
  let incoming: IncomingLink | undefined
  let over = false
  const end = (): void => {
    if (over) return
    over = true
    incoming?.ended()
  }
  const fail = (thrown: unknown): void => {
    end()
    call.fail(thrown)
  }
  return {
    onMessage: ({ body }) => {
      if (over || body === undefined) return
      try {
        if (body.$case !== 'hello') {
          if (incoming === undefined) throw invalidArgument('Cannot read link: its first message is no hello')
          incoming.receive(body.$case, body.value)
          return
        }
        if (incoming !== undefined) throw invalidArgument('Cannot read link: a second hello came')
        const { wireVersion, fromShard, toShard } = body.value
        incoming = links.accept({ wireVersion, from: fromShard as ShardId, to: toShard as ShardId }, () =>
          fail(new NearstateError('UNAVAILABLE', 'the shard has ended the link')),
        )
      } catch (thrown) {
        // Only a refusal ends the stream; what the shard throws of itself is a bug.
        if (!(thrown instanceof NearstateError)) throw thrown
        fail(thrown)
      }
    },
    onDrain: () => undefined,
    onHalfClose: () => {
      end()
      call.end()
    },
    onGone: end,
  }
}
