import { describe, expect, it } from 'vitest'
import { jsonLines, parsed } from './parse-text.ts'

describe('JSON lines', () => {
  it('reads one value a line', () => {
    const batch = parsed(jsonLines(), '{"a":1}\n\n[2]\r\n  \n"drei €"')
    expect(batch.records).toEqual([{ a: 1 }, [2], 'drei €'])
    expect(batch.lines).toEqual([1, 3, 5])
    expect(batch.rejected).toEqual([])
  })

  it('leaves out a byte order mark', () => expect(parsed(jsonLines(), '\ufeff{"a":1}').records).toEqual([{ a: 1 }]))

  it('rejects a line that is no JSON, saying why, and reads the next', () => {
    const batch = parsed(jsonLines(), '{"a":1}\n{"a":\n{"a":2} x\n{"a":3}\n')
    expect(batch.records).toEqual([{ a: 1 }, { a: 3 }])
    expect(batch.rejected).toEqual([
      { line: 2, reason: expect.stringMatching(/^not JSON: .*end/i), raw: '{"a":' },
      { line: 3, reason: expect.stringMatching(/^not JSON: /), raw: '{"a":2} x' },
    ])
  })

  it('rejects a line that is not UTF-8', () => {
    const batch = parsed(jsonLines(), Buffer.concat([Buffer.from('"'), Buffer.from([0xff]), Buffer.from('"\n1\n')]))
    expect(batch.rejected).toEqual([{ line: 1, reason: 'not valid UTF-8', raw: '"\ufffd"' }])
    expect(batch.records).toEqual([1])
  })

  it('rejects a line of more than 1 MiB, in however many pieces it comes', () => {
    const content = `"${'x'.repeat(3 * 1024 * 1024)}"\n1\n`
    for (const cuts of [[], [1024 * 1024, 2 * 1024 * 1024], [1024 * 1024 + 1]]) {
      const batch = parsed(jsonLines(), content, cuts)
      expect(batch.rejected).toEqual([{ line: 1, reason: 'the record is longer than 1048576 bytes', raw: content.slice(0, 1024) }])
      expect(batch.records).toEqual([1])
      expect(batch.lines).toEqual([2])
    }
  })
})
