import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FrameReader, framed } from '../../../src/transport/grpc/frames.ts'

const read = (chunks: readonly Buffer[], messageMaxBytes = 1000): string[] => {
  const messages: string[] = []
  const reader = new FrameReader(messageMaxBytes, message => messages.push(message.toString('latin1')))
  for (const chunk of chunks) reader.take(chunk)
  return messages
}

describe('frames', () => {
  test('messages come out whole, however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'binary-ascii', maxLength: 40 }), { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
        (messages, cuts) => {
          const bytes = Buffer.concat(messages.map(message => framed(Buffer.from(message, 'latin1'))))
          const chunks: Buffer[] = []
          for (let at = 0, i = 0; at < bytes.length; i += 1) {
            const end = at + (cuts[i % cuts.length] as number)
            chunks.push(bytes.subarray(at, end))
            at = end
          }
          expect(read(chunks)).toEqual(messages)
          expect(read([bytes])).toEqual(messages)
        },
      ),
    )
  })

  test('a frame is a copy', () => {
    const message = Buffer.from('abc')
    const frame = framed(message)
    message.fill(0)
    expect(frame).toEqual(Buffer.from('\0\0\0\0\x03abc', 'latin1'))
  })

  test('too large and compressed messages are refused before they are taken', () => {
    expect(() => read([Buffer.from([0, 0, 0, 4, 0])])).toThrow('it is 1024 bytes, limit is 1000')
    expect(() => read([Buffer.from([1, 0]), Buffer.from([0, 0, 1, 9])])).toThrow('compressed')
  })
})
