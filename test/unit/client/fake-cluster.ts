import type { ShardConnection } from '../../../src/transport/grpc/pipe-client.ts'
import type { PipeStreamListener } from '../../../src/transport/pipe-stream.ts'
import type { ClusterDescription } from '../../../src/wire/generated/nearstate/v1/admin.ts'
import { type OperationBatch, OperationKind, type ResultBatch } from '../../../src/wire/generated/nearstate/v1/data.ts'
import { OperationReader } from '../../../src/wire/operations.ts'
import { ResultWriter } from '../../../src/wire/results.ts'

/** A shard whose answers a test writes by hand. */
export class FakeShard {
  readonly address: string
  listener: PipeStreamListener | undefined
  opened = 0
  batches: OperationBatch[] = []
  /** What the next writes return. */
  accepts = true
  /** A pipe is answered at once. */
  open = true
  /** Sessions are opened at once, unseen by `take`. */
  opensSessions = true
  /** How many were opened; also the position in their tickets. */
  sessionsOpened = 0

  constructor(address: string) {
    this.address = address
  }

  connection(): ShardConnection {
    return {
      openPipe: listener => {
        this.listener = listener
        this.opened += 1
        if (this.open) queueMicrotask(() => listener.onOpen())
        return {
          write: batch => {
            const rest = this.opensSessions ? this.#openSessions(batch) : true
            if (rest) this.batches.push(batch)
            return this.accepts
          },
          close: () => undefined,
        }
      },
      close: () => undefined,
    }
  }

  /** Batches that carry operations, and forgets them. */
  take(): OperationReader[] {
    const readers = this.batches.filter(batch => batch.keyLengths.length > 0).map(batch => new OperationReader(batch))
    this.batches = []
    return readers
  }

  ticket(): Buffer {
    this.sessionsOpened += 1
    const ticket = Buffer.alloc(16)
    ticket.writeBigUInt64BE(1n, 0)
    ticket.writeBigUInt64BE(BigInt(this.sessionsOpened), 8)
    return ticket
  }

  /** Whether the batch holds anything else. */
  #openSessions(batch: OperationBatch): boolean {
    if (batch.keyLengths.length === 0) return true
    const reader = new OperationReader(batch)
    let opened = 0
    for (let i = 0; i < reader.count; i += 1) {
      if (reader.kindAt(i) !== OperationKind.OPEN_SESSION) continue
      opened += 1
      queueMicrotask(() => this.answer(results => results.value(reader.idAt(i), this.ticket(), 0, 16)))
    }
    return opened < reader.count
  }

  answer(write: (results: ResultWriter) => void, tableVersion = 1n): void {
    const results = new ResultWriter()
    write(results)
    for (const batch of results.take(tableVersion)) this.listener?.onResults(batch)
  }

  /** The shard's last answers. */
  answerLast(write: (results: ResultWriter) => void, tableVersion = 1n): void {
    const results = new ResultWriter()
    write(results)
    for (const batch of results.takeLast(tableVersion)) this.listener?.onResults(batch)
  }

  send(batch: ResultBatch): void {
    this.listener?.onResults(batch)
  }
}

/** Two members with one shard each; even partitions live on the first. */
export function describeFake(
  version: bigint,
  partitions: readonly number[] = [0, 1, 0, 1],
  [statusOfA, statusOfB]: readonly [string, string] = ['alive', 'alive'],
): ClusterDescription {
  const member = (name: string, address: string, status: string) => ({
    name,
    id: `${name}-id`,
    pid: 1,
    status,
    zone: '',
    version: '0',
    address: '',
    http: '',
    shards: [{ id: `${name}-shard`, address }],
    startedAtMs: 0n,
  })
  return {
    cluster: 'test',
    version,
    members: [member('a', 'a:1', statusOfA), member('b', 'b:1', statusOfB)],
    leader: 'a',
    partitions: partitions.map(primary => ({ epoch: version, primary, shard: 0, backups: [primary === 0 ? 1 : 0, 0], inSync: 1 })),
    partitionCount: 4,
    coordinator: 'embedded',
    valueMaxBytes: 1024n * 1024n,
    backups: 1,
  }
}
