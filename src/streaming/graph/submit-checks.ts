/**
 * What can be said of a job against the cluster before it runs: pure, from the graph and the maps that there are.
 *
 * Errors keep the job from being started. Warnings are shown and do not: state that grows with the keys of an endless input, and maps
 * whose content depends on how far the job is.
 */
import { invalidArgument, type NearstateError } from '../../base/errors.ts'
import { formatKeyCodec, type KeyCodec } from '../../keys/key-codec.ts'
import type { JobGraph, MapDescription, StageDescription } from './job-graph.ts'

export interface KnownMap {
  readonly keySpace: string
  readonly keyCodec: KeyCodec
}

export interface SubmitContext {
  /** The map of this name; undefined: there is none. */
  readonly mapOf: (name: string) => KnownMap | undefined
  /** Maps that are missing are made when the job starts. */
  readonly createsMaps: boolean
}

export interface Finding {
  readonly level: 'error' | 'warning'
  readonly stage: string
  /** A sentence that names what is wrong and the remedy. */
  readonly message: string
}

/** All findings, in the order of the stages. */
export function checkSubmit(graph: JobGraph, { mapOf, createsMaps }: SubmitContext): readonly Finding[] {
  const endless = endlessStages(graph)
  const written = new Set(graph.stages.flatMap(({ sink }) => (sink === undefined ? [] : [sink.map])))
  return graph.stages.flatMap(stage => {
    const found: Finding[] = []
    const add = (level: Finding['level'], message: string): void => void found.push({ level, stage: stage.name, message })
    for (const map of [stage.reads, stage.sink]) {
      if (map === undefined) continue
      const known = mapOf(map.map)
      if (known === undefined) {
        if (!createsMaps) add('error', `map "${map.map}" does not exist; create it first`)
        else if (map === stage.reads && !written.has(map.map))
          add('warning', `map "${map.map}" does not exist: it is made empty, and every row finds nothing until something writes it`)
      } else {
        const problem = keyProblem(map, known)
        if (problem !== undefined) add('error', problem)
      }
    }
    if (stage.reads !== undefined && written.has(stage.reads.map)) {
      const writers = graph.stages.filter(({ sink }) => sink?.map === stage.reads?.map).map(({ name }) => `"${name}"`)
      add(
        'warning',
        `it reads map "${stage.reads.map}", which ${writers.join(', ')} of the same job writes: what a row finds depends on how far the job is, and after a restart rows that are read again find later values; keep such state in a process stage`,
      )
    }
    const remedy = endless.has(stage.name) ? unboundedRemedy(stage) : undefined
    if (remedy !== undefined) add('warning', `it keeps state for every key it has ever seen, and its input does not end: ${remedy}`)
    return found
  })
}

/** The errors among the findings as one; undefined: the job may start. */
export function submitError(job: string, findings: readonly Finding[]): NearstateError | undefined {
  const errors = findings.filter(({ level }) => level === 'error')
  if (errors.length === 0) return undefined
  return invalidArgument(`Cannot submit job "${job}": ${errors.map(({ stage, message }) => `stage "${stage}": ${message}`).join('; ')}`)
}

function keyProblem(map: MapDescription, known: KnownMap): string | undefined {
  const mine = formatKeyCodec(map.keyCodec)
  const its = formatKeyCodec(known.keyCodec)
  if (map.keySpace === known.keySpace && mine === its) return undefined
  return `map "${map.map}" has keys of "${known.keySpace}" (${its}), the job has "${map.keySpace}" (${mine}) for it; use the map's key space, or another map`
}

/** Stages with a source before them that has no end. */
function endlessStages({ stages }: JobGraph): ReadonlySet<string> {
  const endless = new Set<string>()
  for (const { name, source, inputs } of stages) {
    const isEndless = source === undefined ? inputs.some(input => endless.has(input)) : !hasEnd(source)
    if (isEndless) endless.add(name)
  }
  return endless
}

const hasEnd = ({ connector, options }: NonNullable<StageDescription['source']>): boolean =>
  connector === 'files' || (connector === 'generator' && options['count'] !== undefined)

function unboundedRemedy({ kind, ttlMs, window }: StageDescription): string | undefined {
  if (ttlMs !== undefined) return undefined
  switch (kind) {
    case 'aggregate':
      return 'use a window, or reduce with { ttl }'
    case 'process':
      return 'give it a ttl, or let it forget keys by ctx.state = undefined'
    case 'reduce':
    case 'dedupe':
      return 'give it { ttl }'
    case 'topN':
      return window === undefined ? 'give it { ttl } or { window }' : undefined
    case 'window':
      return window?.kind === 'count' && window.ttlMs === undefined ? 'give its window a ttl: countWindow(n, { ttl })' : undefined
    default:
      return undefined
  }
}

/** A graph as people read it: a line per stage, with what is before it. For machines there is the graph's JSON. */
export function graphText(graph: JobGraph): string {
  const lines = graph.stages.map(stage => [
    stage.name,
    stage.kind,
    stage.inputs.length === 0 ? '' : `<- ${stage.inputs.join(', ')}`,
    detailsOf(stage),
  ])
  const widths = [0, 1, 2].map(column => Math.max(...lines.map(line => line[column]?.length ?? 0)))
  const rows = lines.map(line =>
    line
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  return [`job "${graph.name}", on error: ${graph.onError}, on broken rows: ${graph.onBrokenRow}`, ...rows].join('\n')
}

function detailsOf(stage: StageDescription): string {
  const { source, key, reads, sink, window, aggregates, fields, join, n, ttlMs, latenessMs, earlyMs, calls, lines, output } = stage
  const parts: (string | undefined)[] = [
    source?.connector,
    source?.eventTime && `event time, out of order by ${lengthText(source.eventTime.outOfOrdernessMs)}`,
    stage.kind === 'keyBy' || stage.kind === 'rekey' ? key && `${key.space} (${formatKeyCodec(key.codec)})` : undefined,
    reads && `reads ${reads.map}`,
    sink && `writes ${sink.map}${stage.visible === undefined ? '' : ' on checkpoints'}`,
    output && `writes with ${output.connector}`,
    join?.type,
    join?.beforeMs === undefined ? undefined : `${lengthText(join.beforeMs)} before to ${lengthText(join.afterMs ?? 0)} after`,
    window && windowText(window),
    n === undefined ? undefined : `first ${n}`,
    aggregates &&
      Object.entries(aggregates)
        .map(([name, operation]) => `${name}: ${operation}`)
        .join(', '),
    fields?.join(', '),
    calls && `${calls.inFlight} at a time${calls.ordered ? ', in order' : ''}, ${lengthText(calls.timeoutMs)} each`,
    lines && `one of ${lines.every}, ${lines.perSecond} a second at most`,
    earlyMs === undefined ? undefined : `early every ${lengthText(earlyMs)}`,
    latenessMs === undefined ? undefined : `late by ${lengthText(latenessMs)}`,
    ttlMs === undefined ? undefined : `forgets after ${lengthText(ttlMs)}`,
  ]
  return parts.filter(part => part !== undefined && part !== '').join('; ')
}

function windowText(window: NonNullable<StageDescription['window']>): string {
  switch (window.kind) {
    case 'tumbling':
      return `tumbling ${lengthText(window.sizeMs)}`
    case 'sliding':
      return `sliding ${lengthText(window.sizeMs)} every ${lengthText(window.everyMs)}`
    case 'session':
      return `session ${lengthText(window.gapMs)}`
    case 'count':
      return `${window.size} rows every ${window.every}`
  }
}

/** As the author would write it: "1h", "90s". */
function lengthText(ms: number): string {
  const unit = units.find(([, unitMs]) => ms >= unitMs && ms % unitMs === 0)
  return unit === undefined ? `${ms}ms` : `${ms / unit[1]}${unit[0]}`
}

const units = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const
