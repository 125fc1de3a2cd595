/** Names of clients' sessions, as the wire has them: epoch and position of the log entry that opened one, each 8 bytes big-endian. */
import type { Ticket } from '../replication/replica-port.ts'
import { ticketBytes } from '../wire/limits.ts'

export function encodeTicket({ epoch, position }: Ticket): Buffer {
  const bytes = Buffer.allocUnsafe(ticketBytes)
  bytes.writeBigUInt64BE(BigInt(epoch))
  bytes.writeBigUInt64BE(BigInt(position), 8)
  return bytes
}

export const decodeTicket = (bytes: Buffer): Ticket => ({
  epoch: Number(bytes.readBigUInt64BE(0)),
  position: Number(bytes.readBigUInt64BE(8)),
})

export const isSameTicket = (a: Ticket | undefined, b: Ticket): boolean => a?.epoch === b.epoch && a.position === b.position
