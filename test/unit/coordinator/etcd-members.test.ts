import { afterAll, expect, it } from 'vitest'
import type { EtcdMember } from '../../../src/coordinator/etcd/etcd-member.ts'
import { EtcdMembers } from '../../../src/coordinator/etcd/etcd-members.ts'

const addresses = ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3']
const members = new EtcdMembers({ members: addresses, onTrouble: () => undefined })
afterAll(() => members.close())

const unreached = (): Error => new Error('No connection established')
const call = (run: (member: EtcdMember) => string) =>
  members.call({ action: 'read "a"', mayRepeat: true, run: member => new Promise(resolve => resolve(run(member))) })

it('waits for a new leader, however often the dead one is asked meanwhile', async () => {
  let deadAsked = 0
  const answer = await call(member => {
    if (member.address === addresses[0]) {
      deadAsked += 1
      throw unreached()
    }
    if (deadAsked < 8) throw new Error('etcdserver: no leader')
    return 'answered'
  })
  expect(answer).toBe('answered')
})

it('asks each member twice when none is there, and says which', async () => {
  const asked: string[] = []
  const answer = call(member => {
    asked.push(member.address)
    throw unreached()
  })
  await expect(answer).rejects.toMatchObject({ code: 'UNAVAILABLE', message: expect.stringContaining(addresses.join(', ')) })
  expect(asked.sort()).toEqual([...addresses, ...addresses].sort())
})
