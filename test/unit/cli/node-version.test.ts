import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { complaintAboutNode } from '../../../src/cli/node-version.ts'

describe('the check of the Node version', () => {
  it.each(['18.20.0', '20.20.2', '22.18.0', '23.11.0', '24.5.0'])('refuses %s in one sentence', version => {
    const complaint = complaintAboutNode(version)
    expect(complaint).toContain(`this is Node ${version}`)
    expect(complaint?.split('\n')).toHaveLength(1)
  })
  it.each(['22.19.0', '24.6.0', '24.21.0', '25.0.0', '26.10.0'])('takes %s', version => expect(complaintAboutNode(version)).toBeUndefined())
  it('says what package.json says', () => {
    const { engines } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { engines: { node: string } }
    expect(engines.node).toBe('^22.19.0 || >=24.6.0')
  })
})
