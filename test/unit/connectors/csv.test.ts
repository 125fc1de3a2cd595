import { describe, expect, it } from 'vitest'
import { csv, parsed } from './parse-text.ts'

const records = (content: string | Uint8Array): unknown[] => {
  const batch = parsed(csv(), content)
  expect(batch.rejected).toEqual([])
  return batch.records
}

describe('CSV that follows RFC 4180', () => {
  it('names fields after the header', () =>
    expect(records('id,name\n1,Ann\n2,Bo\n')).toEqual([
      { id: '1', name: 'Ann' },
      { id: '2', name: 'Bo' },
    ]))

  it.each([
    ['an empty file', '', []],
    ['a header alone', 'a,b\n', []],
    ['a header without a line end', 'a,b', []],
    ['a last line without a line end', 'a,b\n1,2', [{ a: '1', b: '2' }]],
    ['CRLF', 'a,b\r\n1,2\r\n', [{ a: '1', b: '2' }]],
    ['CRLF behind a quoted field', 'a,b\r\n1,"2"\r\n', [{ a: '1', b: '2' }]],
    ['a byte order mark', '\ufeffa,b\n1,2\n', [{ a: '1', b: '2' }]],
    ['empty fields', 'a,b,c\n,,\n', [{ a: '', b: '', c: '' }]],
    ['empty quoted fields', 'a,b\n"",""\n', [{ a: '', b: '' }]],
    ['an empty quoted field that is all of the line', 'a\n""\n', [{ a: '' }]],
    ['a comma in quotes', 'a,b\n"1,5",2\n', [{ a: '1,5', b: '2' }]],
    ['a quote in quotes', 'a,b\n"say ""hi""",2\n', [{ a: 'say "hi"', b: '2' }]],
    ['nothing but a quote', 'a\n""""\n', [{ a: '"' }]],
    ['line breaks in quotes', 'a,b\n"1\n2\r\n3",4\n', [{ a: '1\n2\r\n3', b: '4' }]],
    ['a quoted field at the very end', 'a,b\n1,"2"', [{ a: '1', b: '2' }]],
    ['spaces, which belong to the field', 'a,b\n 1 , 2\n', [{ a: ' 1 ', b: ' 2' }]],
    ['a carriage return inside a field', 'a,b\n1\r2,3\n', [{ a: '1\r2', b: '3' }]],
    ['blank lines', '\na,b\n\n1,2\r\n\r\n\n', [{ a: '1', b: '2' }]],
    ['UTF-8', 'pays,prix\nCôte d’Ivoire,"5 €"\n', [{ pays: 'Côte d’Ivoire', prix: '5 €' }]],
    ['quoted header names', '"a,b","c""d"\n1,2\n', [{ 'a,b': '1', 'c"d': '2' }]],
  ])('reads %s', (_, content, expected) => expect(records(content)).toEqual(expected))

  it('makes records of one plain shape, also under names that mean something to JavaScript', () => {
    const [first] = records('__proto__,constructor,"a""];\\\u2028"\n1,2,3\n') as Record<string, string>[]
    expect(Object.entries(first ?? {})).toEqual([
      ['__proto__', '1'],
      ['constructor', '2'],
      ['a"];\\\u2028', '3'],
    ])
    expect(Object.getPrototypeOf(first)).toBe(Object.prototype)
  })

  it('gives the line of each record, counting lines inside quotes', () => {
    const batch = parsed(csv(), 'a,b\n1,"x\ny\nz"\n2,3\n\n4,5\n')
    expect(batch.lines).toEqual([2, 5, 7])
  })

  it('tells equal hashes apart', () => {
    // Under h * 31 + c these pairs collide.
    expect(records('a,b\nAa,BB\nBB,Aa\nAaAa,BBBB\n')).toEqual([
      { a: 'Aa', b: 'BB' },
      { a: 'BB', b: 'Aa' },
      { a: 'AaAa', b: 'BBBB' },
    ])
  })
})

describe('CSV that is broken', () => {
  it.each([
    ['too few columns', '1,2', 'too few columns: 2, the header has 3'],
    ['too many columns', '1,2,3,4', 'too many columns: 4, the header has 3'],
    ['a quote that is not closed', '1,"2,3', 'broken quote: a quoted field is not closed'],
    ['a quote inside a field', '1,2"x",3', 'broken quote: a quote stands inside a field that does not begin with one'],
    [
      'text behind a closing quote',
      '1,"2"x,3',
      'broken quote: a closing quote is followed by something else than a comma or the end of the line',
    ],
  ])('rejects a row with %s and reads the next ones', (_, row, reason) => {
    const batch = parsed(csv(), `a,b,c\n0,0,0\n${row}\n4,5,6\n7,8,9\n`)
    expect(batch.rejected).toEqual([{ line: 3, reason, raw: row }])
    expect(batch.records).toEqual([
      { a: '0', b: '0', c: '0' },
      { a: '4', b: '5', c: '6' },
      { a: '7', b: '8', c: '9' },
    ])
    expect(batch.lines).toEqual([2, 4, 5])
  })

  it('loses one line to a quote left open, though quoted fields follow', () => {
    const batch = parsed(csv(), 'a,b\n1,"open\n2,"fine, too"\n3,"say ""hi"""\n')
    expect(batch.rejected.map(rejected => rejected.line)).toEqual([2])
    expect(batch.records).toEqual([
      { a: '2', b: 'fine, too' },
      { a: '3', b: 'say "hi"' },
    ])
  })

  it('rejects a row that is not UTF-8, and shows it', () => {
    const batch = parsed(csv(), Buffer.concat([Buffer.from('a,b\n1,'), Buffer.from([0xc3, 0x28]), Buffer.from('\n2,3\n')]))
    expect(batch.rejected).toEqual([{ line: 2, reason: 'column "b" is not valid UTF-8', raw: '1,\ufffd(' }])
    expect(batch.records).toEqual([{ a: '2', b: '3' }])
  })

  it.each([
    ['without quotes', `1,${'x'.repeat(1024 * 1024)}\n`],
    ['in quotes', `1,"${'x'.repeat(1024 * 1024)}"\n`],
    ['with a quote that is never closed', `1,"${'x'.repeat(2 * 1024 * 1024)}\n`],
  ])('rejects a record of more than 1 MiB %s', (_, row) => {
    const cuts = Array.from({ length: Math.floor(row.length / 65536) }, (_, index) => (index + 1) * 65536)
    const batch = parsed(csv(), `a,b\n${row}2,3\n`, cuts)
    expect(batch.rejected).toHaveLength(1)
    expect(batch.rejected[0]).toMatchObject({ line: 2, reason: 'the record is longer than 1048576 bytes' })
    expect(batch.rejected[0]?.raw).toHaveLength(1024)
    expect(batch.records).toEqual([{ a: '2', b: '3' }])
    expect(batch.lines).toEqual([3])
  })

  it('takes a record of exactly 1 MiB', () => {
    const batch = parsed(csv(), `a,b\n1,${'x'.repeat(1024 * 1024 - 2)}\n2,3\n`)
    expect(batch.rejected).toEqual([])
    expect(batch.records).toHaveLength(2)
  })

  it('loses one line to an open quote behind which more than 1 MiB follows', () => {
    const batch = parsed(csv(), `a,b\n1,"open\n${'2,3\n'.repeat(300_000)}`)
    expect(batch.rejected).toEqual([{ line: 2, reason: 'the record is longer than 1048576 bytes', raw: '1,"open' }])
    expect(batch.records).toHaveLength(300_000)
    expect(batch.lines.at(-1)).toBe(300_002)
  })

  it.each([
    ['names a column twice', 'a,b,a\n', 'names column "a" twice'],
    ['has a broken quote', 'a,"b\n1,2\n', 'header is broken: broken quote'],
    [
      'has too many columns',
      `${Array.from({ length: 1001 }, (_, column) => `c${column}`).join(',')}\n`,
      'has 1001 columns, the limit is 1000',
    ],
  ])('refuses a file whose header %s', (_, content, message) =>
    expect(() => parsed(csv(), content)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(message) }),
    ),
  )
})
