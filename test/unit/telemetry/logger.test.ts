import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'
import { createLogger, formatForPeople } from '../../../src/telemetry/logger.ts'

describe('logs', () => {
  it('are JSON lines in files and pipes', () => {
    const lines: string[] = []
    createLogger({ level: 'info', fields: { node: 'n1' }, output: { write: text => lines.push(text) } }).info('joined', { version: 4 })
    expect(lines).toHaveLength(1)
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'info', node: 'n1', msg: 'joined', version: 4 })
  })

  it('are short lines on a terminal', () => {
    const lines: string[] = []
    createLogger({ level: 'info', fields: { node: 'n1' }, output: { isTTY: true, write: text => lines.push(text) } }).warn('slow', {
      ms: 4,
    })
    expect(stripVTControlCharacters(lines[0] ?? '')).toMatch(/^\d\d:\d\d:\d\d\.\d{3} {2}warn {3}n1 {2}slow {2}ms=4\n$/)
  })

  it('leave out what is below the level, and pass through what is no JSON', () => {
    const lines: string[] = []
    createLogger({ level: 'error', output: { write: text => lines.push(text) } }).warn('not said')
    expect(lines).toEqual([])
    expect(formatForPeople('plain')).toBe('plain')
  })
})
