// Import boundaries: the table "Folders" of the architecture, as rules. Checked by scripts/check.ts, which also fails on 0 modules.
const cores = ['partitioning', 'storage', 'replication', 'membership', 'grid', 'streaming']
const adapters = ['telemetry', 'transport', 'coordinator', 'connectors', 'bundling', 'durability']

/** folder -> folders it may import, besides itself and base */
const mayImport = {
  base: [],
  config: [],
  keys: [],
  partitioning: ['keys'],
  storage: ['keys'],
  replication: ['storage', 'partitioning'],
  membership: ['partitioning'],
  grid: ['storage', 'keys'],
  streaming: ['keys'],
  wire: ['keys'],
  telemetry: ['config'],
  transport: ['wire'],
  coordinator: ['membership', 'wire', 'transport'],
  connectors: ['streaming', 'wire'],
  bundling: [],
  durability: ['storage', 'wire'],
  shard: [...cores, 'keys', 'wire', ...adapters],
  node: ['shard', ...cores, 'keys', 'wire', ...adapters, 'config'],
  client: ['keys', 'wire', 'transport', 'bundling'],
  testing: ['shard', ...cores, 'keys', 'wire'],
  cli: ['client', 'node', 'config', 'bundling', 'keys'],
  entry: ['.*'],
}

/** folder -> folders of which it may import types */
const typesOnly = { wire: cores }

/** library -> the one folder that imports it */
const doors = {
  '@grpc/': 'transport',
  '@bufbuild/protobuf': 'wire',
  msgpackr: 'wire',
  hashring: 'partitioning',
  pino: 'telemetry',
  'prom-client': 'telemetry',
  zod: 'config',
  yaml: 'config',
  etcd3: 'coordinator',
  lmdb: 'durability',
  esbuild: 'bundling',
  '@jridgewell/trace-mapping': 'bundling',
  commander: 'cli',
  'cli-table3': 'cli',
}

const folderRules = Object.entries(mayImport).map(([folder, allowed]) => ({
  name: `${folder}-imports`,
  comment: `src/${folder} imports base${allowed.length > 0 ? `, ${allowed.join(', ')}` : ''} and nothing else of src`,
  severity: 'error',
  from: { path: `^src/${folder}/` },
  to: { path: '^src/', pathNot: `^src/(${[folder, 'base', ...allowed, ...(typesOnly[folder] ?? [])].join('|')})/` },
}))

const typeRules = Object.entries(typesOnly).map(([folder, allowed]) => ({
  name: `${folder}-types`,
  comment: `src/${folder} imports nothing but types of ${allowed.join(', ')}`,
  severity: 'error',
  from: { path: `^src/${folder}/` },
  to: { path: `^src/(${allowed.join('|')})/`, dependencyTypesNot: ['type-only'] },
}))

module.exports = {
  forbidden: [
    ...folderRules,
    ...typeRules,
    {
      name: 'known-folder',
      comment: 'every folder of src has a row in the architecture',
      severity: 'error',
      from: { path: '^src/', pathNot: `^src/(${Object.keys(mayImport).join('|')})/` },
      to: {},
    },
    ...Object.entries(doors).map(([library, folder]) => ({
      name: `one-door-${library.replace(/\W/g, '')}`,
      comment: `${library} is imported in src/${folder} only`,
      severity: 'error',
      from: { path: '^src/', pathNot: `^src/${folder}/` },
      to: { path: `^node_modules/${library}` },
    })),
    {
      name: 'cores-are-pure',
      comment: 'cores import nothing of Node: time, randomness and messages are inputs',
      severity: 'error',
      from: { path: `^src/(base|keys|${cores.join('|')})/` },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'no-cycles',
      severity: 'error',
      from: { path: '^src/' },
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true, pathNot: '^nearstate' } },
    { name: 'no-dev-dependencies', severity: 'error', from: { path: '^src/' }, to: { dependencyTypes: ['npm-dev', 'npm-no-pkg'] } },
  ],
  options: {
    doNotFollow: { path: ['node_modules', '^src/wire/generated'] },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.d.ts'],
    },
  },
}
