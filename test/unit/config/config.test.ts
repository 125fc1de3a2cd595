import { describe, expect, it } from 'vitest'
import { configurationPage, formatConfig, optionHelp } from '../../../src/config/describe-options.ts'
import { type ConfigSources, type LoadedConfig, loadConfig } from '../../../src/config/load-config.ts'
import { optionNames, optionTable } from '../../../src/config/option-table.ts'
import { readYaml } from '../../../src/config/yaml-file.ts'

/** Files of these tests live in memory. */
const texts = new Map<string, string>()
function file(text: string): string {
  texts.set('conf/nearstate.yaml', text)
  return 'conf/nearstate.yaml'
}
const readText = (path: string): string => {
  const text = texts.get(path)
  if (text === undefined) throw new Error('ENOENT: no such file')
  return text
}
const load = (sources: Partial<ConfigSources> = {}): LoadedConfig => loadConfig({ env: {}, flags: {}, ...sources }, readText)
const refused = (...parts: string[]) =>
  expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(new RegExp(parts.join('.*'), 's')) as unknown })

describe('sources', () => {
  it('are by rising priority: default, file, environment, flag; each value knows its own', () => {
    const { config, origins } = load({
      file: file('# a node\nport: 7001\nhttpPort: 7002\nshards: 2\nsliceMax: 5ms\n'),
      env: { NEARSTATE_PORT: '7003', NEARSTATE_HTTP_PORT: '7004', PATH: '/bin' },
      flags: { port: '7005', zone: undefined },
    })
    expect(config).toMatchObject({ port: 7005, httpPort: 7004, shards: 2, sliceMaxMs: 5, partitions: 240, autoCreateMaps: true })
    expect([origins.port, origins.httpPort, origins.shards, origins.partitions].map(({ source }) => source)).toEqual([
      '--port',
      'NEARSTATE_HTTP_PORT',
      'nearstate.yaml:4:9',
      'default',
    ])
  })

  it('give frozen results', () => {
    const { config, origins } = load()
    expect([config, origins, origins.port].every(Object.isFrozen)).toBe(true)
  })

  it('read every default by its own rule', () => {
    for (const name of optionNames) expect(optionTable[name].schema.safeParse(optionTable[name].defaultText).success, name).toBe(true)
  })

  it('read sizes, shares, durations, switches', () => {
    const { config } = load({
      flags: { memoryMax: '4gb', valueMax: '1mb', coordinatorSessionTtl: '1.5s', insecure: true, autoCreateMaps: 'false' },
    })
    expect(config).toMatchObject({
      memoryMaxBytes: 4 * 1024 ** 3,
      valueMaxBytes: 1024 ** 2,
      coordinatorSessionTtlMs: 1500,
      insecure: true,
      autoCreateMaps: false,
    })
    expect(load({ flags: { memoryMax: '100%' } }).config.memoryMaxBytes).toBeGreaterThan(load().config.memoryMaxBytes)
  })

  it('may be an empty file', () => expect(load({ file: file('# nothing\n') }).config).toEqual(load().config))

  it('in the environment are told from what Kubernetes puts there for a service of this name', () => {
    const env = { NEARSTATE_SERVICE_HOST: '10.0.0.1', NEARSTATE_PORT_7400_TCP_ADDR: '10.0.0.1', NEARSTATE_SERVICE_PORT_GRPC: '7400' }
    expect(load({ env }).config).toEqual(load().config)
  })
})

describe('unknown names are refused with the nearest known one', () => {
  it.each([
    [{ flags: { shardz: 1 } }, ['shardz .from --shardz', 'did you mean shards']],
    [{ env: { NEARSTATE_SLICEMAX: '1ms' } }, ['NEARSTATE_SLICEMAX', 'did you mean NEARSTATE_SLICE_MAX']],
  ])('%j', (sources, parts) => expect(() => load(sources)).toThrow(refused(...parts)))

  it('in the file, with line and column', () =>
    expect(() => load({ file: file('port: 1\nbackup: 0\n') })).toThrow(refused('backup .from nearstate.yaml:2:9', 'did you mean backups')))
})

describe('bad values are refused with what is wanted', () => {
  it.each([
    [{ port: '70000' }, ['port "70000"', 'from --port', '0 to 65535']],
    [{ port: '-1' }, ['0 to 65535']],
    [{ shards: 1.5 }, ['1 to 64']],
    [{ shards: '0x2' }, ['1 to 64']],
    [{ sliceMax: '5 parsecs' }, ['sliceMax "5 parsecs"', 'ms, s, m, h, d']],
    [{ sliceMax: 5 }, ['sliceMax 5', 'a duration']],
    [{ memoryMax: '0%' }, ['memoryMax "0%"', 'a share such as 50%']],
    [{ memoryMax: '1kb' }, ['from 16mb']],
    [{ memoryMax: '4gb', valueMax: '64mb' }, ['valueMax "64mb"', 'from --value-max', 'from 1kb to 63mb']],
    [{ logLevel: 'loud' }, ['debug, info, warn, error, silent']],
    [{ insecure: 'yes' }, ['true or false']],
    [{ coordinator: 'etcd://x' }, ['embedded, embedded://host:port, or etcd://host:port']],
    [{ name: 'a b' }, ['name "a b"', 'letters']],
  ])('%j', (flags, parts) => expect(() => load({ flags })).toThrow(refused(...parts)))
})

describe('the file', () => {
  it.each([
    ['port: [1, 2]', 'x.yaml:1:7.*port takes one plain value'],
    ['port:\n', 'x.yaml:1:1.*port has no value'],
    ['- port\n', 'x.yaml:1:1.*must be a mapping'],
    ['port: 1\nport: 2\n', 'x.yaml:2:1.*unique'],
    ['name: "a\nport: 1', 'x.yaml:2:8'],
    ['7: 1', 'x.yaml:1:1.*option name'],
  ])('%j is refused with its place', (text, message) => expect(() => readYaml('x.yaml', text)).toThrow(refused(message)))

  it('that is not there is named', () => expect(() => load({ file: 'missing.yaml' })).toThrow(refused('missing.yaml', 'ENOENT')))
})

describe('relations', () => {
  it.each([
    [{ minInSync: 3 }, 'minInSync 3 .from --min-in-sync.*never more copies than backups 1'],
    [{ heartbeat: '300ms' }, 'heartbeat 300ms.*fit into replicaLease 600ms'],
    [{ replicaLease: '1s' }, 'replicaLease 1s.*below backupTimeout 1s'],
    [{ suspicionSilence: '400ms' }, 'suspicionSilence 400ms.*twice heartbeat 250ms'],
    [{ replicationLogMax: '8mb' }, 'valueMax 16mb.*replicationLogMax 8mb'],
    [{ host: '192.168.0.7' }, 'host 192.168.0.7.*set insecure to true'],
    [{ host: '0.0.0.0', insecure: true }, 'host 0.0.0.0.*one that they can reach'],
    [{ userCodeTimeLimit: '600ms' }, 'userCodeTimeLimit 600ms.*below replicaLease 600ms'],
    [{ userCodeTimeLimit: '50ms', sliceMax: '60ms' }, 'sliceMax 60ms.*below userCodeTimeLimit 50ms'],
    [{ port: 7000, httpPort: 7000 }, 'port 7000.*httpPort 7000.*are the same'],
    [{ shardPortBase: 65_530, shards: 8 }, 'up to 65537'],
    [{ shardPortBase: 7390, shards: 11 }, 'port 7400 .from default. lies in the ports 7390 to 7400'],
    [{ memoryMax: '64mb', shards: 4, valueMax: '17mb' }, 'valueMax 17mb.*a shard has 16.0 MB'],
    [{ etcdUser: 'grid' }, 'etcdUser grid .from --etcd-user.*coordinator embedded .from default. is no etcd'],
    [{ coordinator: 'etcd://a:1', etcdCa: '/ca.pem' }, 'etcdCa /ca.pem.*with TLS only.*etcds://'],
    [{ coordinator: 'etcds://a:1', etcdCert: '/c.pem' }, 'etcdCert /c.pem.*etcdKey.*go together'],
    [{ coordinator: 'etcd://a:1', etcdPasswordFile: '/p' }, 'etcdPasswordFile /p.*give etcdUser'],
  ])('%j are refused with the remedy', (flags, message) => expect(() => load({ flags })).toThrow(refused(message)))

  it('let etcd be used, alone or as several, with TLS, a user, a password beside the options', () => {
    const env = { NEARSTATE_ETCD_PASSWORD: 'secret' }
    const tls = { etcdCa: '/ca', etcdCert: '/c', etcdKey: '/k' }
    expect(load({ flags: { coordinator: 'etcd://10.0.0.1:2379' } }).config.coordinator).toBe('etcd://10.0.0.1:2379')
    const { config, origins } = load({ env, flags: { coordinator: 'etcds://a:2379,[::1]:2379,c.d:2379', etcdUser: 'grid', ...tls } })
    expect(config).toMatchObject({ etcdUser: 'grid', ...tls })
    expect(JSON.stringify({ config, origins })).not.toContain('secret')
  })

  it('let an open network be used on purpose, and ports be free', () => {
    expect(load({ flags: { host: '192.168.0.7', insecure: true } }).config.host).toBe('192.168.0.7')
    expect(load({ flags: { port: 0, httpPort: 0 } }).config).toMatchObject({ port: 0, httpPort: 0 })
  })
})

describe('descriptions', () => {
  it('--print-config prints a file that gives the same configuration', () => {
    const loaded = load({ flags: { zone: 'eu-1', memoryMax: '25%', insecure: true } })
    const printed = formatConfig(loaded)
    expect(printed).toMatch(/^zone: eu-1 +# --zone$/m)
    expect(printed).toMatch(/^memoryMax: 25% +# --memory-max \(.*B\)$/m)
    expect(load({ file: file(printed) }).config).toEqual(loaded.config)
  })

  it('have one row and one flag for every option', () => {
    const page = configurationPage()
    const flags = optionHelp().map(help => help.flags.split(' ')[0] as string)
    expect(flags.length).toBe(optionNames.length)
    expect(new Set(flags).size).toBe(flags.length)
    for (const flag of flags) expect(page).toContain(`\`${flag}\``)
  })
})
