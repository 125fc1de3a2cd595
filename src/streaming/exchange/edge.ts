/**
 * One exchange between all shards of an attempt, seen from one of them: rows for each other shard wait here for credit, frames
 * of each other shard wait here for their turn.
 *
 * Bounds: a sender keeps frames under way only as far as it has credit (`creditFrames` per edge, sender and receiver, given by the
 * receiver when it runs and given back when a frame has been processed). Rows without credit wait; at `waitingRowsMax` for any
 * receiver the task stops everything that could add to them, up to its sources (`full`). Nothing is dropped.
 *
 * 1. Frames of rows and marks of one (edge, sender, receiver) are numbered without gaps; a gap ends the attempt.
 * 2. A watermark never overtakes rows: it rides behind the last waiting row, or alone when none waits.
 * 3. A barrier keeps its place among rows and marks. What a sender sent behind barrier n waits until the edge has passed n (`passed`),
 *    unless the edge does not align.
 */
import { NearstateError } from '../../base/errors.ts'
import { Batch } from '../operators/batch.ts'
import { WatermarkMerge } from '../time/watermarks.ts'
import { type Frame, type FrameWriter, type RowCodec, readRows } from './frame.ts'

export interface ExchangeLimits {
  readonly creditFrames: number
  readonly waitingRowsMax: number
  /** Frames are cut to about this size, and to so many rows. */
  readonly frameTargetBytes: number
  readonly frameRowsMax: number
  /** One row that makes a larger frame fails the job. */
  readonly frameMaxBytes: number
  // Two rules that the simulator takes away.
  /** Credit that a sender has before the receiver has given any: none, for only a receiver that runs gives credit. */
  readonly firstCredit: number
  /** A gap in the numbers of frames ends the attempt. */
  readonly gapEndsAttempt: boolean
}

export const defaultExchangeLimits: ExchangeLimits = {
  creditFrames: 8,
  waitingRowsMax: 2048,
  frameTargetBytes: 48 * 1024,
  frameRowsMax: 1024,
  frameMaxBytes: 3 * 1024 * 1024,
  firstCredit: 0,
  gapEndsAttempt: true,
}

export type SendFrame = (to: number, bytes: Uint8Array) => boolean

/** A barrier among the rows that wait, with the mark of the rows before it. */
interface WaitingBarrier {
  /** How many rows, from the beginning of the batch, go before it. */
  at: number
  readonly n: number
  readonly watermark: number
  readonly idle: boolean
}

/** Rows on their way to one other shard. */
class Outbox {
  readonly waiting = new Batch()
  #head = 0
  #mark = 0
  #credit: number
  #sequence = 0
  #rowsPerFrame = 64
  #sentWatermark = Number.NEGATIVE_INFINITY
  #sentIdle = false
  readonly #barriers: WaitingBarrier[] = []
  readonly #limits: ExchangeLimits

  constructor(limits: ExchangeLimits) {
    this.#limits = limits
    this.#credit = limits.firstCredit
  }

  get rows(): number {
    return this.waiting.size - this.#head
  }

  addCredit(frames: number): void {
    this.#credit += frames
  }

  beginUnit(): void {
    this.#mark = this.waiting.size
  }

  rollback(): void {
    this.waiting.size = this.#mark
  }

  addBarrier(n: number, mark: WatermarkMerge): void {
    this.#barriers.push({ at: this.waiting.size, n, watermark: mark.watermark, idle: mark.idle })
  }

  /** Everything is sent, and this mark with it. */
  isSettled(mark: WatermarkMerge): boolean {
    return this.rows === 0 && this.#barriers.length === 0 && this.#sentWatermark === mark.watermark && this.#sentIdle === mark.idle
  }

  /** The next frame that may leave; partial frames and lone marks leave only when `all` is set. */
  takeFrame(writer: FrameWriter, edge: number, mark: { watermark: number; idle: boolean }, all: boolean): Uint8Array | undefined {
    const barrier = this.#barriers[0]
    const rows = barrier === undefined ? this.rows : barrier.at - this.#head
    if (rows > 0) {
      if (this.#credit === 0 || (!all && barrier === undefined && rows < this.#rowsPerFrame)) return undefined
      return this.#rowsFrame(writer, edge, barrier ?? mark, rows)
    }
    if (barrier !== undefined) {
      this.#barriers.shift()
      this.#setSent(barrier)
      return writer.control('barrier', edge, this.#nextSequence(), barrier.n, barrier.watermark, barrier.idle)
    }
    if (!all || (mark.watermark === this.#sentWatermark && mark.idle === this.#sentIdle)) return undefined
    this.#setSent(mark)
    return writer.control('mark', edge, this.#nextSequence(), 0, mark.watermark, mark.idle)
  }

  /** A frame of some of the `sendable` rows; `mark` is that behind the last of them. */
  #rowsFrame(writer: FrameWriter, edge: number, mark: { watermark: number; idle: boolean }, sendable: number): Uint8Array {
    const { frameMaxBytes, frameTargetBytes, frameRowsMax } = this.#limits
    let count = Math.min(sendable, this.#rowsPerFrame)
    for (;;) {
      const isLast = count === sendable
      const watermark = isLast ? mark.watermark : this.#sentWatermark
      const idle = isLast ? mark.idle : false
      const bytes = writer.rows(edge, this.#sequence, this.waiting, this.#head, this.#head + count, watermark, idle)
      if (bytes.length <= frameMaxBytes) {
        this.#rowsPerFrame = Math.max(1, Math.min(frameRowsMax, Math.floor((count * frameTargetBytes) / bytes.length)))
        this.#sequence += 1
        this.#credit -= 1
        this.#sentWatermark = watermark
        this.#sentIdle = idle
        this.#drop(count)
        return bytes
      }
      if (count === 1) {
        throw new NearstateError(
          'RESOURCE_EXHAUSTED',
          `Cannot send row to another shard: it is ${bytes.length} bytes, the limit is ${frameMaxBytes}; make rows smaller before keyBy`,
        )
      }
      count = Math.max(1, Math.floor((count * frameMaxBytes) / bytes.length / 2))
    }
  }

  #drop(count: number): void {
    this.#head += count
    if (this.#head < this.waiting.size && this.#head < this.#limits.waitingRowsMax) return
    this.waiting.dropFirst(this.#head)
    // Frames may leave between the beginning of a unit and its end: what a rollback goes back to moves along.
    this.#mark -= this.#head
    for (const barrier of this.#barriers) barrier.at -= this.#head
    this.#head = 0
  }

  #nextSequence(): number {
    this.#sequence += 1
    return this.#sequence - 1
  }

  #setSent(mark: { watermark: number; idle: boolean }): void {
    this.#sentWatermark = mark.watermark
    this.#sentIdle = mark.idle
  }
}

interface Arrived {
  readonly frame: Frame
  /** The mark behind it; of lone marks the last one counts. */
  watermark: number
  idle: boolean
}

/** Frames of one other shard. */
class Inbox {
  readonly queue: Arrived[] = []
  nextSequence = 0
  owedCredit = 0
  batch: Batch | undefined
  cursor = 0
  /** Frames of rows in the queue. */
  rowFrames = 0
  /** The last barrier that came out of the queue. */
  barrier = 0
}

export class Edge {
  readonly index: number
  /** The stage whose output is exchanged. */
  readonly stage: number
  /** Watermark behind the exchange: the least of all senders. */
  readonly received: WatermarkMerge
  /** Watermark of what this shard sends. */
  readonly sent = new WatermarkMerge(1)
  readonly #self: number
  readonly #limits: ExchangeLimits
  readonly #outboxes: readonly Outbox[]
  readonly #inboxes: readonly Inbox[]
  /** Rows and marks behind a barrier wait until all have sent it. */
  readonly #aligns: boolean
  #turn = 0
  /** The last barrier that this edge has passed. */
  #passed = 0

  constructor(index: number, stage: number, self: number, shards: number, limits: ExchangeLimits, aligns = true) {
    this.index = index
    this.#aligns = aligns
    this.stage = stage
    this.#self = self
    this.#limits = limits
    this.received = new WatermarkMerge(shards)
    this.#outboxes = Array.from({ length: shards }, () => new Outbox(limits))
    this.#inboxes = Array.from({ length: shards }, () => new Inbox())
  }

  /** Where rows for another shard are laid down. */
  waitingFor(shard: number): Batch {
    return (this.#outboxes[shard] as Outbox).waiting
  }

  get isFull(): boolean {
    for (const outbox of this.#outboxes) if (outbox.rows >= this.#limits.waitingRowsMax) return true
    return false
  }

  beginUnit(): void {
    for (const outbox of this.#outboxes) outbox.beginUnit()
  }

  rollback(): void {
    for (const outbox of this.#outboxes) outbox.rollback()
  }

  /** This shard's own watermark before the exchange. */
  setSent(watermark: number, idle: boolean): void {
    if (this.sent.set(0, watermark, idle)) this.received.set(this.#self, this.sent.watermark, this.sent.idle)
  }

  get isSettled(): boolean {
    return this.#outboxes.every((outbox, shard) => shard === this.#self || outbox.isSettled(this.sent))
  }

  giveFirstCredit(writer: FrameWriter, send: SendFrame): void {
    for (let shard = 0; shard < this.#inboxes.length; shard += 1) {
      if (shard !== this.#self) send(shard, writer.control('credit', this.index, 0, this.#limits.creditFrames, 0, false))
    }
  }

  /** Sends what may leave, and gives credit back. `isOpen`: the link takes more. */
  flush(writer: FrameWriter, send: SendFrame, isOpen: (shard: number) => boolean, all: boolean): void {
    for (let shard = 0; shard < this.#outboxes.length; shard += 1) {
      if (shard === this.#self || !isOpen(shard)) continue
      const inbox = this.#inboxes[shard] as Inbox
      if (inbox.owedCredit > 0 && (all || inbox.owedCredit * 2 >= this.#limits.creditFrames)) {
        const credit = writer.control('credit', this.index, 0, inbox.owedCredit, 0, false)
        inbox.owedCredit = 0
        if (!send(shard, credit)) continue
      }
      const outbox = this.#outboxes[shard] as Outbox
      let frame = outbox.takeFrame(writer, this.index, this.sent, all)
      while (frame !== undefined && send(shard, frame)) frame = outbox.takeFrame(writer, this.index, this.sent, all)
    }
  }

  /** Takes a frame of another shard in; the reason when the sender broke the rules. */
  arrive(from: number, frame: Frame): string | undefined {
    if (frame.kind === 'credit') {
      this.#outboxes[from]?.addCredit(frame.count)
      return undefined
    }
    const inbox = this.#inboxes[from]
    if (inbox === undefined) return 'it is of a shard that takes no part'
    if (frame.sequence !== inbox.nextSequence && this.#limits.gapEndsAttempt) {
      return `frame ${frame.sequence} came where ${inbox.nextSequence} was due: one was lost`
    }
    inbox.nextSequence = frame.sequence + 1
    const last = inbox.queue.at(-1)
    if (frame.kind === 'mark' && last !== undefined && last.frame.kind !== 'barrier') {
      last.watermark = frame.watermark
      last.idle = frame.idle
      return undefined
    }
    if (frame.kind === 'rows') {
      if (inbox.rowFrames === this.#limits.creditFrames) return 'it was sent without credit'
      inbox.rowFrames += 1
    }
    inbox.queue.push({ frame, watermark: frame.watermark, idle: frame.idle })
    this.#settle(from)
    return undefined
  }

  // ---- barriers

  /** Barrier n has reached the edge on this shard: it goes out behind what waits. */
  sendBarrier(n: number): void {
    for (const [shard, outbox] of this.#outboxes.entries()) if (shard !== this.#self) outbox.addBarrier(n, this.sent)
  }

  /** Every other shard has sent barrier n, and what came before it is done. */
  haveAllSent(n: number): boolean {
    return this.#inboxes.every((inbox, shard) => shard === this.#self || inbox.barrier >= n)
  }

  /** The edge has passed barrier n: what came behind it goes on. */
  pass(n: number): void {
    this.#passed = n
    for (let shard = 0; shard < this.#inboxes.length; shard += 1) this.#settle(shard)
  }

  /** Takes marks and barriers from the head of a queue, up to the next rows. */
  #settle(sender: number): void {
    const inbox = this.#inboxes[sender] as Inbox
    for (let first = inbox.queue[0]; first !== undefined && first.frame.kind !== 'rows'; first = inbox.queue[0]) {
      if (this.#isBlocked(inbox)) return
      inbox.queue.shift()
      this.received.set(sender, first.watermark, first.idle)
      if (first.frame.kind === 'barrier') inbox.barrier = first.frame.count
    }
  }

  #isBlocked(inbox: Inbox): boolean {
    return this.#aligns && inbox.barrier > this.#passed
  }

  /** The sender whose frame is next, in turn; undefined: no frame waits. */
  nextSender(): number | undefined {
    const shards = this.#inboxes.length
    for (let i = 0; i < shards; i += 1) {
      const shard = (this.#turn + i) % shards
      const inbox = this.#inboxes[shard] as Inbox
      if (inbox.rowFrames > 0 && !this.#isBlocked(inbox)) return shard
    }
    return undefined
  }

  /** The rows of that sender's first frame, from `cursor` on. Throws when they cannot be decoded. */
  open(sender: number, codec: RowCodec): { readonly batch: Batch; readonly cursor: number } {
    const inbox = this.#inboxes[sender] as Inbox
    const first = inbox.queue[0] as Arrived
    inbox.batch ??= readRows(first.frame, codec)
    return { batch: inbox.batch, cursor: inbox.cursor }
  }

  /** So many rows of that sender's first frame are done. */
  advance(sender: number, rows: number): void {
    const inbox = this.#inboxes[sender] as Inbox
    inbox.cursor += rows
    if (inbox.batch === undefined || inbox.cursor < inbox.batch.size) return
    const done = inbox.queue.shift() as Arrived
    inbox.batch = undefined
    inbox.cursor = 0
    inbox.rowFrames -= 1
    inbox.owedCredit += 1
    this.#turn = (sender + 1) % this.#inboxes.length
    this.received.set(sender, done.watermark, done.idle)
    this.#settle(sender)
  }
}
