/**
 * Generates src/wire/generated from proto/ with buf and ts-proto, both from the registry: messages, and the file descriptors
 * that servers show to dynamic clients.
 * `--check` writes to a temporary folder and fails if the committed files differ.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..')
const committed = join(root, 'src/wire/generated')
const checking = process.argv.includes('--check')
const output = checking ? mkdtempSync(join(tmpdir(), 'nearstate-wire-')) : committed

const options = [
  'env=node',
  'outputServices=generic-definitions',
  'outputJsonMethods=false',
  'outputPartialMethods=false',
  'esModuleInterop=true',
  'importSuffix=.ts',
  'oneof=unions-value',
  'forceLong=bigint',
  'removeEnumPrefix=true',
  'useDate=false',
  'useExactTypes=false',
  'snakeToCamel=true',
  'enumsAsLiterals=true',
  'annotateFilesWithVersion=false',
]

const bin = (name: string): string => join(root, 'node_modules/.bin', name)
if (!checking) rmSync(committed, { recursive: true, force: true })
execFileSync(
  bin('buf'),
  [
    'generate',
    join(root, 'proto'),
    '--output',
    output,
    '--template',
    JSON.stringify({
      version: 'v2',
      plugins: [{ local: bin('protoc-gen-ts_proto'), out: '.', opt: options }],
    }),
  ],
  { stdio: 'inherit', cwd: root },
)

const descriptorSet = execFileSync(
  bin('buf'),
  ['build', join(root, 'proto'), '--as-file-descriptor-set', '--exclude-source-info', '--output', '-#format=binpb'],
  { cwd: root },
)
writeFileSync(
  join(output, 'descriptor-set.ts'),
  `// Generated from proto/. DO NOT EDIT.\n/** A google.protobuf.FileDescriptorSet of all files, in base64. */\nexport const descriptorSetBase64 =\n  '${descriptorSet.toString('base64')}'\n`,
)

const filesIn = (folder: string): Map<string, string> =>
  new Map(
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter(f => f.endsWith('.ts'))
      .map(f => [f, readFileSync(join(folder, f), 'utf8')]),
  )

if (checking) {
  const fresh = filesIn(output)
  const old = filesIn(committed)
  rmSync(output, { recursive: true })
  const stale = [...new Set([...fresh.keys(), ...old.keys()])].filter(f => fresh.get(f) !== old.get(f))
  if (stale.length > 0) {
    console.error(`Generated wire code is not current: ${stale.join(', ')}. Run "npm run generate" and commit the result.`)
    process.exit(1)
  }
}
