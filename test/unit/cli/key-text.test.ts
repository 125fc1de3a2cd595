import { describe, expect, it } from 'vitest'
import { keyJson, keyText, parseKey } from '../../../src/cli/key-text.ts'

describe('keys on the command line', () => {
  it('are read by the codec of the map', () => {
    expect(parseKey('string', '17850')).toBe('17850')
    expect(parseKey('int64', '-17850')).toBe(-17850)
    expect(parseKey('bytes', '00fF')).toEqual(new Uint8Array([0, 255]))
    expect(parseKey(['tuple', 'string', 'int64', 'bytes'], '["DE", 3, "0a"]')).toEqual(['DE', 3, new Uint8Array([10])])
  })

  it('are refused in another form, without being repeated in the message', () => {
    for (const [codec, text] of [
      ['int64', '1.5'],
      ['int64', '9007199254740993'],
      ['bytes', 'secret'],
      [['tuple', 'string', 'int64'], 'secret'],
    ] as const) {
      expect(() => parseKey(codec, text)).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.not.stringContaining('secret') }),
      )
    }
  })

  it('are shown as they are read', () => {
    expect(keyText('17850')).toBe('17850')
    expect(keyText(5)).toBe('5')
    expect(keyJson(new Uint8Array([0, 255]))).toBe('00ff')
    expect(keyText(['DE', new Uint8Array([10])])).toBe('["DE","0a"]')
  })
})
