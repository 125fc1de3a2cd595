import { Client, credentials, type ClientDuplexStream } from '@grpc/grpc-js'
import { randomBytes } from 'node:crypto'
import { Histogram } from '../../src/base/histogram.ts'
import { present } from '../../src/base/assert.ts'
import { serveSide } from '../rounds.ts'
import { echoMethod } from './echo-method.ts'
import type { Load, LoadResult } from './load.ts'

let call: ClientDuplexStream<Buffer, Buffer> | undefined
let onMessage: () => void = () => undefined
/** About what a get of 100 bytes takes on the wire, there and back. */
const message = randomBytes(100)

serveSide({
  connect: ({ port }: { readonly port: number }) => {
    const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure())
    const { path, requestSerialize, responseDeserialize } = echoMethod
    call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize)
    call.on('data', () => onMessage())
  },
  run: async ({ durationMs }: Load): Promise<LoadResult> => {
    const stream = present(call, 'the stream')
    const histogram = new Histogram()
    const begun = performance.now()
    for (let at = begun; at < begun + durationMs; ) {
      await new Promise<void>(resolve => {
        onMessage = resolve
        stream.write(message)
      })
      const now = performance.now()
      histogram.record(now - at)
      at = now
    }
    const seconds = (performance.now() - begun) / 1000
    return { perSecond: histogram.count / seconds, p50Ms: histogram.percentile(0.5), p99Ms: histogram.percentile(0.99) }
  },
})
