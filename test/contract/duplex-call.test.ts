/** The server's end of bidirectional streams, against callers that do as they like. */
import { connect as connectHttp2, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { invalidArgument, NearstateError } from '../../src/base/errors.ts'
import type { DuplexCall, DuplexListener } from '../../src/transport/grpc/duplex-call.ts'
import { framed } from '../../src/transport/grpc/frames.ts'
import { type GrpcServer, serveGrpc } from '../../src/transport/grpc/server.ts'
import { type BoundService, bindService } from '../../src/transport/grpc/service.ts'
import { eventually } from './eventually.ts'

const text = {
  encode: (said: string) => ({ finish: () => Buffer.from(said) }),
  decode: (bytes: Uint8Array) => Buffer.from(bytes).toString(),
}
const definition = {
  name: 'Words',
  fullName: 'test.Words',
  methods: {
    talk: { name: 'Talk', requestType: text, requestStream: true, responseType: text, responseStream: true, options: {} },
  },
} as const

type Call = DuplexCall<string, string>

describe('a bidirectional stream', () => {
  let server: GrpcServer
  let session: ClientHttp2Session
  let call: Call | undefined
  let heard: string[]
  let onMessage: (word: string, call: Call) => void

  beforeEach(async () => {
    call = undefined
    heard = []
    onMessage = () => undefined
    const talk = (taken: Call): DuplexListener<string> => {
      call = taken
      return {
        onMessage: word => {
          heard.push(word)
          onMessage(word, taken)
        },
        onDrain: () => undefined,
        onHalfClose: () => {
          heard.push('half-closed')
          taken.end()
        },
        onGone: () => heard.push('gone'),
      }
    }
    const service: BoundService = bindService(definition, { talk } as never)
    server = await serveGrpc({ host: '127.0.0.1', port: 0, services: [service], messageMaxBytes: 1024 * 1024 })
    session = connectHttp2(`http://127.0.0.1:${server.port}`)
  })

  afterEach(async () => {
    session.destroy()
    await server.stop(0)
  })

  const open = (headers = {}): ClientHttp2Stream => {
    const stream = session.request({
      ':method': 'POST',
      ':path': '/test.Words/Talk',
      'content-type': 'application/grpc',
      ...headers,
    })
    stream.on('error', () => undefined)
    stream.resume()
    return stream
  }

  const words = (...said: readonly string[]): Buffer => Buffer.concat(said.map(word => framed(Buffer.from(word))))

  /** The trailers, or the headers where the answer is no more than that; undefined: the stream was cut. */
  const statusOf = (stream: ClientHttp2Stream): Promise<IncomingHttpHeaders | undefined> =>
    new Promise(resolve => {
      stream.on('response', headers => {
        if (headers['grpc-status'] !== undefined) resolve(headers)
      })
      stream.on('trailers', resolve)
      stream.on('close', () => resolve(undefined))
    })

  test.each(['before', 'after'])('%s its headers ends with an error whose message is cut within a character', async when => {
    onMessage = (_, taken) => {
      if (when === 'after') taken.sendHeaders()
      taken.fail(invalidArgument(`a${'😀'.repeat(3000)}`))
    }
    const stream = open()
    stream.write(words('a'))
    expect(await statusOf(stream)).toMatchObject({ 'grpc-status': '3' })
  })

  test.each(['before', 'after'])('%s its headers ends with an error that is long in bytes', async when => {
    onMessage = (_, taken) => {
      if (when === 'after') taken.sendHeaders()
      taken.fail(new NearstateError('FUNCTION_FAILED', '語'.repeat(5000), { functionStack: '語'.repeat(5000) }))
    }
    const stream = open()
    stream.write(words('a'))
    expect(await statusOf(stream)).toMatchObject({ 'nearstate-code': 'FUNCTION_FAILED' })
  })

  test('that is half-closed while messages are held brings them first', async () => {
    const stream = open()
    await eventually(() => call).toBeDefined()
    call?.sendHeaders()
    call?.pause()
    stream.end(words('a', 'b', 'c'))
    await new Promise(resolve => setTimeout(resolve, 50))
    onMessage = (_, taken) => taken.pause()
    call?.resume()
    await eventually(() => heard.length).toBe(1)
    await new Promise(resolve => setTimeout(resolve, 50))
    expect(heard).toEqual(['a'])
    call?.resume()
    expect(heard).toEqual(['a', 'b'])
    call?.resume()
    await new Promise(resolve => setTimeout(resolve, 50))
    expect(heard).toEqual(['a', 'b', 'c'])
    call?.resume()
    await eventually(() => heard).toEqual(['a', 'b', 'c', 'half-closed'])
    expect(await statusOf(stream)).toMatchObject({ 'grpc-status': '0' })
  })

  test('whose handler refuses a message that was held ends with that refusal', async () => {
    onMessage = (word, taken) => {
      if (word === 'b') throw invalidArgument('no b')
      taken.pause()
    }
    const stream = open()
    const ended = statusOf(stream)
    stream.write(words('a', 'b', 'c'))
    await eventually(() => heard).toEqual(['a'])
    expect(() => call?.resume()).not.toThrow()
    expect(await ended).toMatchObject({ 'grpc-status': '3', 'grpc-message': 'no%20b' })
    expect(heard).toEqual(['a', 'b', 'gone'])
  })

  test.each(['-1', 'soon', '5', '100000000S'])('with the time-out %s is refused', async timeout => {
    expect(await statusOf(open({ 'grpc-timeout': timeout }))).toMatchObject({ 'grpc-status': '13' })
    expect(heard).toEqual([])
  })

  test('that is paused and cancelled holds nothing more', async () => {
    onMessage = (_, taken) => taken.pause()
    const stream = open()
    stream.write(words('a', 'b', 'c'))
    await eventually(() => heard).toEqual(['a'])
    stream.close(8)
    await eventually(() => heard).toEqual(['a', 'gone'])
    call?.resume()
    expect(heard).toEqual(['a', 'gone'])
  })

  test.each([0, 8])('that is reset with %i while it is paused, or while its answers cannot leave, is gone', async code => {
    const paused = open()
    paused.write(words('a'))
    await eventually(() => heard).toEqual(['a'])
    call?.sendHeaders()
    call?.pause()
    paused.write(words('b', 'c'))
    await new Promise(resolve => setTimeout(resolve, 30))
    paused.close(code)
    await eventually(() => heard).toContain('gone')
    expect(heard).toEqual(['a', 'gone'])

    heard = []
    const blocked = open()
    blocked.pause()
    blocked.write(words('d'))
    await eventually(() => heard).toEqual(['d'])
    while (call?.send('x'.repeat(100_000)) === true);
    call?.pause()
    blocked.write(words('e'))
    await new Promise(resolve => setTimeout(resolve, 30))
    blocked.close(code)
    await eventually(() => heard).toContain('gone')
    expect(heard).toEqual(['d', 'gone'])
  })

  test('is told to be over, each of a thousand that are reset', async () => {
    const count = (said: string): number => heard.filter(word => word === said).length
    onMessage = (word, taken) => {
      taken.send('answer')
      if (word === 'pause') taken.pause()
    }
    for (let round = 1; round <= 10; round += 1) {
      const streams = Array.from({ length: 100 }, () => open())
      for (const [i, stream] of streams.entries()) stream.write(words('a', i % 2 === 0 ? 'pause' : 'b', 'c'))
      await eventually(() => count('a')).toBe(100 * round)
      for (const [i, stream] of streams.entries()) stream.close(i % 3 === 0 ? 0 : 8)
      await eventually(() => count('gone') + count('half-closed')).toBe(100 * round)
    }
  })
})
