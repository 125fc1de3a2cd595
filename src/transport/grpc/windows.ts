/** HTTP/2 flow control: what a peer may send before it waits for us. Room for the batches under way, so that no round trip waits for a window. */
export const streamWindowBytes = 2 * 1024 * 1024
/** Of all streams of a connection together. */
export const connectionWindowBytes = 4 * 1024 * 1024
/** A batch in few frames instead of one per 16 KB. */
export const frameMaxBytes = 256 * 1024
