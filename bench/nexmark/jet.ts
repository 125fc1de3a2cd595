/** Hazelcast Jet beside us: the Maven project of peers/jet, built once and started anew for every round. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { delimiter } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { eventRate, keys, type Load, type RoundResult, totalOf } from './load.ts'

const run = promisify(execFile)
const project = fileURLToPath(new URL('../peers/jet', import.meta.url))
const queries: readonly string[] = ['q1', 'q5', 'q13']
/** Memory is touched before it is measured, as on our side by the warm-up. */
const javaFlags = ['-Xms2g', '-Xmx2g', '-XX:+AlwaysPreTouch', '--add-opens=java.base/java.lang=ALL-UNNAMED']

export interface JetPeer {
  readonly name: string
  takes(load: Load): boolean
  round(load: Load): Promise<RoundResult>
}

/** Builds it; or says what is not there. */
export async function openJet(): Promise<JetPeer | { readonly missing: string }> {
  for (const [command, flag] of [
    ['java', '-version'],
    ['mvn', '-version'],
  ] as const) {
    const isThere = await run(command, [flag]).then(
      () => true,
      () => false,
    )
    if (!isThere) return { missing: `there is no ${command}` }
  }
  try {
    await run('mvn', ['-q', '-B', 'compile', 'dependency:build-classpath', '-Dmdep.outputFile=target/classpath.txt'], { cwd: project })
  } catch (error) {
    const said = (error as { readonly stdout?: string }).stdout ?? ''
    return { missing: `mvn could not build it: ${said.split('\n').find(line => line.includes('ERROR')) ?? String(error)}` }
  }
  const libraries = (await readFile(`${project}/target/classpath.txt`, 'utf8')).trim()
  const classPath = `${project}/target/classes${delimiter}${libraries}`
  return {
    name: `hazelcast jet ${/hazelcast-(\d[\d.]*\d)\.jar/.exec(libraries)?.[1] ?? ''}`,
    takes: ({ query, light, guarantee }) => light && guarantee === 'none' && queries.includes(query),
    async round(load) {
      const numbers = [load.warmup, load.events, totalOf(load), keys, eventRate].map(String)
      const { stdout } = await run('java', [...javaFlags, '-cp', classPath, 'nearstate.bench.Main', load.query, ...numbers])
      return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as RoundResult
    },
  }
}
