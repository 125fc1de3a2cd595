import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { plainCsv } from '../oracle/retail.ts'
import { csv, jsonLines, parsed } from '../unit/connectors/parse-text.ts'

const cell = fc.stringMatching(/^[ab,"\n\r €x]{0,8}$/)
const write = (value: string): string => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value)
/** Text of the characters that matter, sound or not. */
const hostile = fc
  .array(fc.constantFrom('"', '"', ',', '\n', '\r\n', '\r', 'a', 'bc', 'é', '""', ',"', '",'), { maxLength: 40 })
  .map(parts => parts.join(''))

describe('the CSV parser, against a plain one', () => {
  it('reads what was written, wherever the pieces end', () => {
    const table = fc.array(fc.tuple(cell, cell, cell), { maxLength: 8 })
    fc.assert(
      fc.property(
        table,
        fc.constantFrom('\n', '\r\n'),
        fc.boolean(),
        fc.array(fc.nat(200), { maxLength: 4 }),
        (rows, lineEnd, ended, cuts) => {
          const lines = [['p', 'q', 'r'], ...rows].map(cells => cells.map(write).join(','))
          const content = Buffer.from(lines.join(lineEnd) + (ended ? lineEnd : ''))
          const batch = parsed(csv(), content, inOrder(cuts, content.length))
          expect(batch.rejected).toEqual([])
          expect(batch.records).toEqual(rows.map(([p, q, r]) => ({ p, q, r })))
        },
      ),
      { numRuns: 300 },
    )
  })

  it('agrees with the plain parser where no carriage return stands alone', () => {
    const table = fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(table, rows => {
        const content = ['p,q', ...rows.map(cells => cells.map(write).join(','))].join('\n')
        expect(parsed(csv(), content).records.map(record => Object.values(record as object))).toEqual(plainCsv(content).slice(1))
      }),
      { numRuns: 300 },
    )
  })

  it('gives the same records and rejects for broken text at every cut', () => {
    fc.assert(
      fc.property(hostile, text => {
        const content = Buffer.from(`p,q\n${text}`)
        const whole = parsed(csv(), content)
        for (let cut = 0; cut <= content.length; cut += 1) expect(parsed(csv(), content, [cut])).toEqual(whole)
        const oneByOne = Array.from({ length: content.length }, (_, index) => index)
        expect(parsed(csv(), content, oneByOne)).toEqual(whole)
      }),
      { numRuns: 200 },
    )
  })

  it('accounts for every line of broken text: in a record, rejected, or blank', () => {
    fc.assert(
      fc.property(hostile, text => {
        const batch = parsed(csv(), `p,q\n${text}\n1,2`)
        const starts = [...batch.lines, ...batch.rejected.map(rejected => rejected.line)]
        expect(new Set(starts).size).toBe(starts.length)
        const last = `p,q\n${text}\n1,2`.split('\n').length
        const sound = !text.includes('"')
        if (sound) expect(batch.lines.at(-1)).toBe(last)
      }),
      { numRuns: 300 },
    )
  })
})

describe('the JSON lines parser', () => {
  it('reads what was written, wherever the pieces end', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue(), { maxLength: 6 }), fc.array(fc.nat(300), { maxLength: 4 }), (values, cuts) => {
        const plain = values.map(value => JSON.parse(JSON.stringify(value)) as unknown)
        const content = Buffer.from(plain.map(value => `${JSON.stringify(value)}\n`).join(''))
        expect(parsed(jsonLines(), content, inOrder(cuts, content.length)).records).toEqual(plain)
      }),
      { numRuns: 200 },
    )
  })
})

const inOrder = (cuts: readonly number[], length: number): number[] => cuts.filter(cut => cut <= length).sort((a, b) => a - b)
