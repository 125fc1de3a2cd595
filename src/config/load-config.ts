/**
 * The configuration of a node from its sources, in rising priority: defaults, YAML file, NEARSTATE_* variables, flags.
 * Parsed once, relations checked, frozen. Every problem is INVALID_ARGUMENT, naming the option, the value, where it came from and
 * what is wanted.
 */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { invalidArgument, messageOf, NearstateError } from '../base/errors.ts'
import type { Config } from './config.ts'
import { etcdPasswordVariable } from './etcd-options.ts'
import { environmentNameOf, flagOf, type OptionName, optionNames, optionTable } from './option-table.ts'
import { checkRelations } from './relations.ts'
import { readYaml } from './yaml-file.ts'

export interface ConfigSources {
  /** Path of a YAML file. */
  readonly file?: string | undefined
  /** The process environment; only NEARSTATE_* is looked at. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** By option key; undefined: not given. */
  readonly flags: Readonly<Record<string, unknown>>
}

/** Where a value came from, and the text of it. */
export interface Origin {
  /** `default`, `nearstate.yaml:3:7`, `NEARSTATE_PORT`, `--port`. */
  readonly source: string
  readonly text: string
}
export type Origins = Readonly<Record<OptionName, Origin>>

export interface LoadedConfig {
  readonly config: Config
  readonly origins: Origins
}

type ReadText = (path: string) => string

interface Given {
  readonly key: string
  readonly value: unknown
  readonly source: string
}

/** NEARSTATE_* variables that are not options of a node. */
const otherVariables: readonly string[] = ['NEARSTATE_DEBUG', 'NEARSTATE_ENDPOINT', etcdPasswordVariable]
/** What Kubernetes sets in every container when a service is named nearstate. */
const serviceLink = /^NEARSTATE_(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)$/

const nameOfKey = new Map(optionNames.map(name => [optionTable[name].key, name]))

export function loadConfig({ file, env, flags }: ConfigSources, readText: ReadText = path => readFileSync(path, 'utf8')): LoadedConfig {
  const given = new Map<OptionName, Given>(
    optionNames.map(name => {
      const { key, defaultText } = optionTable[name]
      return [name, { key, value: defaultText, source: 'default' }]
    }),
  )
  for (const option of [...fromFile(file, readText), ...fromEnvironment(env), ...fromFlags(flags)]) {
    const name = nameOfKey.get(option.key)
    if (name === undefined) throw unknownOption(option)
    given.set(name, option)
  }
  const entries = [...given].map(([name, option]) => [name, parse(name, option)] as const)
  // Each value was read by the schema of its own row.
  const config = Object.freeze(Object.fromEntries(entries)) as Config
  const origins = Object.fromEntries(
    [...given].map(([name, { source, value }]) => [name, Object.freeze({ source, text: String(value) })]),
  ) as Origins
  checkRelations(config, origins)
  return Object.freeze({ config, origins: Object.freeze(origins) })
}

function parse(name: OptionName, { key, value, source }: Given): unknown {
  const { schema, wanted } = optionTable[name]
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw invalidArgument(`Cannot use ${key} ${JSON.stringify(value) ?? String(value)} (from ${source}): ${wanted} is wanted`)
}

function fromFile(file: string | undefined, readText: ReadText): readonly Given[] {
  if (file === undefined) return []
  let text: string
  try {
    text = readText(file)
  } catch (cause) {
    throw new NearstateError('INVALID_ARGUMENT', `Cannot read configuration file ${file}: ${messageOf(cause)}`, { cause })
  }
  return readYaml(basename(file), text).map(({ key, value, place }) => ({ key, value, source: place }))
}

function fromEnvironment(env: Readonly<Record<string, string | undefined>>): readonly Given[] {
  const keyOf = new Map(optionNames.map(name => [environmentNameOf(optionTable[name].key), optionTable[name].key]))
  return Object.entries(env).flatMap(([variable, value]) => {
    if (value === undefined || !variable.startsWith('NEARSTATE_') || otherVariables.includes(variable) || serviceLink.test(variable))
      return []
    const key = keyOf.get(variable)
    if (key !== undefined) return [{ key, value, source: variable }]
    throw invalidArgument(
      `Cannot use environment variable ${variable}: no option has that name; did you mean ${nearest(variable, [...keyOf.keys()])}?`,
    )
  })
}

const fromFlags = (flags: Readonly<Record<string, unknown>>): readonly Given[] =>
  Object.entries(flags).flatMap(([key, value]) => (value === undefined ? [] : [{ key, value, source: flagOf(key) }]))

const unknownOption = ({ key, source }: Given): NearstateError =>
  invalidArgument(`Unknown option ${key} (from ${source}): did you mean ${nearest(key, [...nameOfKey.keys()])}?`)

/** The known name with the fewest edits. */
function nearest(name: string, known: readonly string[]): string {
  const lower = name.toLowerCase()
  const distances = known.map(other => [edits(lower, other.toLowerCase()), other] as const)
  return distances.reduce((best, other) => (other[0] < best[0] ? other : best))[1]
}

/** Levenshtein distance. */
function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    row = next
  }
  return row[b.length] as number
}
