/** What happens to the coordinator on etcd when etcd, or the way to it, fails. Real members, killed, stopped, wiped. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { connectEtcd, type EtcdOptions } from '../../src/coordinator/etcd/etcd-coordinator.ts'
import type { Coordinator } from '../../src/membership/coordinator-port.ts'
import { BreakableLink } from '../contract/breakable-link.ts'
import { bytes, WatchLog } from '../contract/coordinator-contract.ts'
import { EtcdServers, hasEtcd } from '../contract/etcd-servers.ts'
import { eventually } from '../contract/eventually.ts'

const onEtcd = (name: string, tests: () => void): void =>
  void describe.skipIf(!hasEtcd)(hasEtcd ? name : `${name} (skipped: there is no etcd on this machine)`, tests)

const stops: (() => unknown)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
})

let clusters = 0
const newCluster = (): string => {
  clusters += 1
  return `faults-${clusters}`
}
function connect(options: EtcdOptions): Coordinator {
  const coordinator = connectEtcd(options)
  stops.push(() => coordinator.close())
  return coordinator
}

/** Tries again as a caller would; answers the version. */
async function write(coordinator: Coordinator, key: string, value: string): Promise<number> {
  for (let tries = 0; tries < 200; tries += 1) {
    try {
      const before = await coordinator.read(key)
      const outcome = await coordinator.compareAndSet(key, before?.version ?? 0, bytes(value))
      if (outcome.kind === 'done') return outcome.version
    } catch (error) {
      expect(error).toMatchObject({ code: 'UNAVAILABLE' })
    }
  }
  throw new Error('never written')
}

/** Whether it has lapsed by now. */
const hasLapsed = (session: { readonly lapsed: Promise<void> }): Promise<boolean> =>
  Promise.race([session.lapsed.then(() => true), new Promise<boolean>(resolve => setTimeout(resolve, 20, false))])

onEtcd('etcd of three members', () => {
  let servers: EtcdServers
  beforeAll(async () => {
    servers = await EtcdServers.start(3)
  })
  afterAll(() => servers?.stop())
  afterEach(async () => {
    for (let i = 0; i < 3; i += 1) servers.signal(i, 'SIGCONT')
    await servers.killAll()
    servers.startAll()
    await servers.untilAnswers()
  })

  const open = async () => {
    const cluster = newCluster()
    const reach: string[] = []
    const coordinator = connect({ members: servers.addresses, cluster })
    const log = new WatchLog(coordinator, 'a')
    stops.push(() => log.stop())
    await log.untilLine('caught up')
    const session = await coordinator.openSession('sessions/n', bytes('1'), 2000, because =>
      reach.push(because === undefined ? 'back' : 'out'),
    )
    return { coordinator, log, session, reach }
  }

  it.each(['a follower', 'the leader'])('goes on when %s is killed: no read fails, the watch and the session live', async victim => {
    const { coordinator, log, session } = await open()
    await coordinator.compareAndSet('a', 0, bytes('before'))
    await log.untilLine('a=before')
    const leader = await servers.leader()
    await servers.killMember(victim === 'the leader' ? leader : (leader + 1) % 3)
    for (let reads = 0; reads < 20; reads += 1) expect(await coordinator.read('a')).toBeDefined()
    await write(coordinator, 'a', 'after')
    await log.untilLine('a=after')
    expect(log.lines).toEqual(['caught up', 'a=before', 'a=after'])
    expect(await hasLapsed(session)).toBe(false)
  })

  it('goes on when the leader stands still', async () => {
    const { coordinator, log, session } = await open()
    servers.signal(await servers.leader(), 'SIGSTOP')
    await write(coordinator, 'a', 'after')
    await log.untilLine('a=after')
    expect(await hasLapsed(session)).toBe(false)
  })

  it('says UNAVAILABLE while all are away, and comes back by itself: calls, watch, and the same session', async () => {
    const { coordinator, log, session, reach } = await open()
    await write(coordinator, 'a', 'before')
    await log.untilLine('a=before')
    await servers.killAll()
    await expect(coordinator.read('a')).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true })
    await expect(coordinator.compareAndSet('a', 1, bytes('x'))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await expect(coordinator.openSession('sessions/m', bytes('1'), 2000)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await eventually(() => reach).toEqual(['out'])
    servers.startAll()
    await write(coordinator, 'a', 'after')
    await log.untilLine('a=after')
    await eventually(() => reach).toEqual(['out', 'back'])
    expect(await hasLapsed(session)).toBe(false)
    expect(await coordinator.read('sessions/n')).toBeDefined()
  })

  it('says UNAVAILABLE without a majority', async () => {
    const { coordinator } = await open()
    const leader = await servers.leader()
    await Promise.all([servers.killMember(leader), servers.killMember((leader + 1) % 3)])
    await eventually(() =>
      coordinator.compareAndSet('a', 0, bytes('x')).then(
        () => 'written',
        error => error.code,
      ),
    ).toBe('UNAVAILABLE')
  })
})

onEtcd('etcd of one member', () => {
  let servers: EtcdServers
  beforeAll(async () => {
    servers = await EtcdServers.start(1)
  })
  afterAll(() => servers?.stop())

  const openOverLink = async () => {
    const cluster = newCluster()
    const link = await BreakableLink.to(servers.addresses[0] ?? '')
    stops.push(() => link.cut())
    const remote = connect({ members: [link.address], cluster })
    const local = connect({ members: servers.addresses, cluster })
    return { link, remote, local }
  }

  const openWatch = async () => {
    const { link, remote, local } = await openOverLink()
    await write(local, 'a', '1')
    await write(local, 'b', '1')
    const log = new WatchLog(remote, '')
    stops.push(() => log.stop())
    await log.untilLine('caught up')
    log.lines.length = 0
    return { link, remote, local, log }
  }

  it('after a broken connection reports what was missed, and nothing twice', async () => {
    const { link, local, log } = await openWatch()
    await link.cut()
    await local.compareAndSet('a', (await local.read('a'))?.version ?? 0, undefined)
    await write(local, 'b', '2')
    await write(local, 'c', '1')
    await link.mend()
    await log.untilLine('c=1')
    expect(log.lines).toEqual(['a deleted', 'b=2', 'c=1'])
  })

  it('reports everything anew, deletions included, when what was missed is compacted', async () => {
    const { link, local, log } = await openWatch()
    await link.cut()
    await local.compareAndSet('a', (await local.read('a'))?.version ?? 0, undefined)
    await write(local, 'c', '1')
    await servers.compact()
    await link.mend()
    await log.untilLine('caught up')
    await write(local, 'd', '1')
    await log.untilLine('d=1')
    expect(log.lines).toEqual(['b=1', 'c=1', 'a deleted', 'caught up', 'd=1'])
  })

  it('ends a session that was not renewed in time, and tells its holder when it is back', async () => {
    const { link, remote, local } = await openOverLink()
    const log = new WatchLog(local, 'sessions/')
    stops.push(() => log.stop())
    const session = await remote.openSession('sessions/n', bytes('1'), 1000)
    await log.untilLine('sessions/n=1')
    await link.cut()
    await log.untilLine('sessions/n deleted')
    expect(await hasLapsed(session)).toBe(false)
    await link.mend()
    await session.lapsed
    const next = await remote.openSession('sessions/n', bytes('2'), 1000)
    await log.untilLine('sessions/n=2')
    await next.close()
  })

  it('ends the session whose key somebody has deleted', async () => {
    const { local, remote } = await openOverLink()
    const session = await remote.openSession('sessions/n', bytes('1'), 1000)
    await local.compareAndSet('sessions/n', (await local.read('sessions/n'))?.version ?? 0, undefined)
    await session.lapsed
  })

  it('refuses a value that is larger than etcd takes', async () => {
    const { local } = await openOverLink()
    await expect(local.compareAndSet('a', 0, new Uint8Array(3 * 1024 * 1024))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('max-request-bytes') as unknown,
    })
  })

  it('tells trouble once, with its reason, and its end', async () => {
    const cluster = newCluster()
    const link = await BreakableLink.to(servers.addresses[0] ?? '')
    stops.push(() => link.cut())
    const told: string[] = []
    const onTrouble: EtcdOptions['onTrouble'] = ({ what, reason }) => told.push(`${what} ${reason?.match(/ECONN\w+/)?.[0] ?? 'works'}`)
    const coordinator = connect({ members: [link.address], cluster, onTrouble })
    await coordinator.read('a')
    await link.cut()
    for (let i = 0; i < 3; i += 1) await expect(coordinator.read('a')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await link.mend()
    await eventually(() => coordinator.read('a').catch(() => 'none')).toBeUndefined()
    expect(told.length).toBe(2)
    expect(told[1]).toBe(`etcd at ${link.address} works`)
  })

  it('says of a stopped etcd that it does not answer, and goes on when it does again', async () => {
    const { local } = await openOverLink()
    const log = new WatchLog(local, '')
    stops.push(() => log.stop())
    await write(local, 'a', '1')
    await log.untilLine('a=1')
    servers.signal(0, 'SIGSTOP')
    await expect(local.compareAndSet('a', 1, bytes('2'))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('may or may not') as unknown,
    })
    servers.signal(0, 'SIGCONT')
    await write(local, 'a', '3')
    await log.untilLine('a=3')
  })

  it('notices that etcd has begun anew, and reports what is gone as deleted', async () => {
    const { local } = await openOverLink()
    const log = new WatchLog(local, '')
    stops.push(() => log.stop())
    await write(local, 'a', '1')
    await log.untilLine('a=1')
    const session = await local.openSession('sessions/n', bytes('1'), 1000)
    await servers.killAll()
    await servers.wipe(0)
    servers.startAll()
    await session.lapsed
    await log.untilLine('a deleted')
    await write(local, 'b', '1')
    await log.untilLine('b=1')
  })

  it('is not there at a wrong address', async () => {
    const nowhere = connect({ members: ['127.0.0.1:1', '127.0.0.1:2'], cluster: 'x' })
    await expect(nowhere.read('a')).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(/Cannot read "a": etcd at 127.0.0.1:1, 127.0.0.1:2 does not answer .*ECONNREFUSED/s) as unknown,
    })
    const nobody = connect({ members: ['no-such-host.invalid:1'], cluster: 'x' })
    await expect(nobody.compareAndSet('a', 0, bytes('1'))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })
})

onEtcd('etcd with users', () => {
  let servers: EtcdServers
  beforeAll(async () => {
    servers = await EtcdServers.start(1)
    const base64 = (text: string): string => Buffer.from(text).toString('base64')
    await servers.post('auth/user/add', { name: 'root', password: 'root-secret' })
    await servers.post('auth/role/add', { name: 'root' })
    await servers.post('auth/user/grant', { user: 'root', role: 'root' })
    await servers.post('auth/user/add', { name: 'grid', password: 'grid-secret' })
    await servers.post('auth/role/add', { name: 'grid' })
    const perm = { permType: 'READWRITE', key: base64('/nearstate/own/'), range_end: base64('/nearstate/own0') }
    await servers.post('auth/role/grant', { name: 'grid', perm })
    await servers.post('auth/user/grant', { user: 'grid', role: 'grid' })
    await servers.post('auth/enable', {})
  })
  afterAll(() => servers?.stop())
  const credentials = { user: 'grid', password: 'grid-secret' }

  it('lets in who has the password, also after a restart has ended all tokens', async () => {
    const coordinator = connect({ members: servers.addresses, cluster: 'own', credentials })
    const log = new WatchLog(coordinator, 'a')
    stops.push(() => log.stop())
    await write(coordinator, 'a', '1')
    await log.untilLine('a=1')
    const session = await coordinator.openSession('sessions/n', bytes('1'), 2000)
    await servers.killAll()
    servers.startAll()
    await write(coordinator, 'a', '2')
    await log.untilLine('a=2')
    expect(await hasLapsed(session)).toBe(false)
  })

  it('refuses others, with the reason', async () => {
    const refusals = await Promise.all(
      [
        { cluster: 'own' },
        { cluster: 'own', credentials: { user: 'grid', password: 'wrong' } },
        { cluster: 'own', credentials: { user: 'nobody', password: 'x' } },
        { cluster: 'other', credentials },
      ].map(options =>
        connect({ members: servers.addresses, ...options })
          .read('a')
          .catch((error: { readonly code: string; readonly message: string }) => `${error.code} ${error.message.split(': ').at(-1)}`),
      ),
    )
    expect(refusals).toEqual([
      'UNAUTHENTICATED user name is empty',
      'UNAUTHENTICATED authentication failed, invalid user ID or password',
      'UNAUTHENTICATED authentication failed, invalid user ID or password',
      'PERMISSION_DENIED permission denied',
    ])
  })

  it('tells a watch that it may not see its keys', async () => {
    const told: string[] = []
    const coordinator = connect({ members: servers.addresses, cluster: 'other', credentials, onTrouble: ({ what }) => told.push(what) })
    const log = new WatchLog(coordinator, 'maps/')
    stops.push(() => log.stop())
    await eventually(() => told).toEqual(['the watch of "maps/"'])
  })
})

const openssl = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'ignore' })

/** A certificate authority, and certificates for the server and a client. */
function makeCertificates(folder: string) {
  const file = (name: string): string => join(folder, name)
  writeFileSync(file('server.ext'), 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n')
  writeFileSync(file('client.ext'), 'extendedKeyUsage=clientAuth\n')
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  for (const ca of ['ca', 'other-ca'])
    openssl('req', '-x509', ...newKey, '-keyout', file(`${ca}.key`), '-out', file(`${ca}.crt`), '-subj', `/CN=${ca}`, '-days', '2')
  for (const name of ['server', 'client']) {
    openssl('req', ...newKey, '-keyout', file(`${name}.key`), '-out', file(`${name}.csr`), '-subj', `/CN=${name}`)
    const signed = ['-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-CAcreateserial', '-extfile', file(`${name}.ext`), '-days', '2']
    openssl('x509', '-req', '-in', file(`${name}.csr`), ...signed, '-out', file(`${name}.crt`))
  }
  return file
}

onEtcd('etcd with TLS', () => {
  let servers: EtcdServers
  let file: (name: string) => string
  const folder = mkdtempSync(join(tmpdir(), 'nearstate-tls-'))
  beforeAll(async () => {
    file = makeCertificates(folder)
    servers = await EtcdServers.start(1, { tls: { ca: file('ca.crt'), cert: file('server.crt'), key: file('server.key') } })
  })
  afterAll(async () => {
    await servers?.stop()
    rmSync(folder, { recursive: true, force: true })
  })
  const read = (name: string): Buffer => readFileSync(file(name))

  it('lets in who has a certificate of its authority', async () => {
    const tls = { ca: read('ca.crt'), cert: read('client.crt'), key: read('client.key') }
    const coordinator = connect({ members: servers.addresses, cluster: 'x', tls })
    await eventually(() => coordinator.read('a').catch(() => 'not yet')).toBeUndefined()
    const version = await write(coordinator, 'a', '1')
    expect(await coordinator.read('a')).toMatchObject({ version })
  })

  it('keeps out who has none, and is not trusted by who has another authority', async () => {
    const bad = [undefined, { ca: read('ca.crt') }, { ca: read('other-ca.crt'), cert: read('client.crt'), key: read('client.key') }, {}]
    for (const tls of bad) {
      await expect(connect({ members: servers.addresses, cluster: 'x', tls }).read('a')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    }
    await expect(connect({ members: servers.addresses, cluster: 'x', tls: {} }).read('a')).rejects.toThrow(/certificate/)
  })
})
