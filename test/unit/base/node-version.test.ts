import { connect } from 'nearstate'
import { startCluster, startNode } from 'nearstate/node'
import { afterEach, expect, it, vi } from 'vitest'
import { complaintAboutNode } from '../../../src/base/node-version.ts'

afterEach(() => vi.unstubAllGlobals())

it('a Node that lacks what is needed gets one sentence, others none', () => {
  for (const version of ['18.20.0', '20.19.5', '22.18.0', '23.11.0', '24.5.0']) expect(complaintAboutNode(version)).toContain(version)
  for (const version of ['22.19.0', '24.6.0', '24.21.0', '26.0.0']) expect(complaintAboutNode(version)).toBeUndefined()
})

it('programs on such a Node are refused before anything that it lacks is used', async () => {
  vi.stubGlobal('process', Object.create(process, { versions: { value: { ...process.versions, node: '20.19.5' } } }))
  const refused = { code: 'UNSUPPORTED_VERSION', message: expect.stringMatching(/needs Node .* this is Node 20\.19\.5/) as string }
  await expect(connect({ endpoints: ['127.0.0.1:1'] })).rejects.toMatchObject(refused)
  await expect(startNode()).rejects.toMatchObject(refused)
  await expect(startCluster()).rejects.toMatchObject(refused)
})
