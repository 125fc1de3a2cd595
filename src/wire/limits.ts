/** Bounds of the wire that both ends know without asking each other. */

export const wireVersion = 1
/** Values above this travel in chunks of this size. */
export const chunkMaxBytes = 256 * 1024
/** Operations in one batch; a larger one is a broken batch. */
export const batchOperationsMax = 65_536
/** A batch is closed when its keys and values pass this, so that every message stays far below the message limit. */
export const batchTargetBytes = 1024 * 1024
/** Largest message that either end takes, unless configured: a batch at its target plus one unchunked value and columns. */
export const messageMaxBytesDefault = 8 * 1024 * 1024
/** Values on their way in chunks, per stream: their number, and the sum of their declared sizes. */
export const uploadsMax = 16
export const uploadsMaxBytes = 64 * 1024 * 1024
/** Largest answer in chunks: a page of a scan or of results is at its target plus one value. */
export const answerMaxBytesOf = (valueMaxBytes: number): number => 2 * valueMaxBytes + 8 * 1024 * 1024
/** Of a session: the epoch and position of the log entry that opened it. */
export const ticketBytes = 16
/** Numbered writes of one session that a client may have unanswered: so far its numbers reach beyond the lowest of them. */
export const sessionWindow = 1024
/** Maps that may be named on one stream; a declaration beyond ends it. */
export const mapSlotsMax = 4096
