import { describe, expect, it } from 'vitest'
import { judgeFailure } from '../../../src/coordinator/etcd/etcd-failure.ts'

const failure = (code: number, details: string): Error => Object.assign(new Error(`${code} ${details}`), { code, details })

describe('a failed call to etcd', () => {
  it.each([
    [14, 'No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:1. Resolution note: ', 'unreached'],
    [14, 'Name resolution failed for target dns:nowhere:1', 'unreached'],
    [14, 'etcdserver: no leader', 'leaderless'],
    [16, 'etcdserver: invalid auth token', 'tokenEnded'],
    [3, 'etcdserver: revision of auth store is old', 'tokenEnded'],
  ])('that says %i %s was surely not executed', (code, details, kind) => expect(judgeFailure(failure(code, details)).kind).toBe(kind))

  it.each([
    [14, 'etcdserver: request timed out, possibly due to previous leader failure'],
    [14, 'etcdserver: leader changed'],
    [14, 'Connection dropped'],
    [14, 'read ECONNRESET'],
    [4, 'Deadline exceeded after 2.000s'],
    [2, 'raft proposal dropped'],
    [13, 'Received RST_STREAM with code 2'],
  ])('that says %i %s may have been executed', (code, details) => expect(judgeFailure(failure(code, details)).kind).toBe('unknown'))

  it.each([
    [3, 'etcdserver: request is too large', 'INVALID_ARGUMENT'],
    [8, 'grpc: received message larger than max (3145756 vs. 2097152)', 'INVALID_ARGUMENT'],
    [8, 'etcdserver: mvcc: database space exceeded', 'RESOURCE_EXHAUSTED'],
    [3, 'etcdserver: user name is empty', 'UNAUTHENTICATED'],
    [3, 'etcdserver: authentication failed, invalid user ID or password', 'UNAUTHENTICATED'],
    [7, 'etcdserver: permission denied', 'PERMISSION_DENIED'],
    [12, 'unknown service etcdserverpb.KV', 'UNSUPPORTED_VERSION'],
  ])('that says %i %s is refused as %s', (code, details, refusal) =>
    expect(judgeFailure(failure(code, details))).toMatchObject({ kind: 'refused', code: refusal }),
  )

  it('of any other kind is unknown, with its words', () => {
    expect(judgeFailure(new Error('what'))).toEqual({ kind: 'unknown', reason: 'what' })
    expect(judgeFailure('what')).toEqual({ kind: 'unknown', reason: 'what' })
  })
})
