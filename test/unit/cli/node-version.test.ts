import { expect, it } from 'vitest'
import { complaintAboutNode } from '../../../src/cli/node-version.ts'

it('a Node that lacks what is needed gets one sentence, others none', () => {
  for (const version of ['18.20.0', '20.19.5', '22.18.0', '23.11.0', '24.5.0']) expect(complaintAboutNode(version)).toContain(version)
  for (const version of ['22.19.0', '24.6.0', '24.21.0', '26.0.0']) expect(complaintAboutNode(version)).toBeUndefined()
})
