/** Opens a mirror's file, if it is this cluster's and node's and can be trusted. */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { invalidArgument, NearstateError } from '../base/errors.ts'
import type { FsyncMode } from './fsync-modes.ts'
import { MirrorEnvironment } from './mirror-environment.ts'
import { factKey, jsonValue, mirrorFormat } from './mirror-format.ts'

/** A mirror is of use only to the node that wrote it, in its cluster. */
export interface MirrorIdentity {
  readonly cluster: string
  readonly node: string
  readonly partitions: number
}

interface Run {
  readonly fsync: FsyncMode
  readonly isOpen: boolean
  /** Of the machine's start. Empty: not known. */
  readonly boot?: string
}

export async function openMirrorFile(
  path: string,
  identity: MirrorIdentity,
  fsync: FsyncMode,
  onTrouble: (reason: string) => void,
): Promise<MirrorEnvironment> {
  let environment = MirrorEnvironment.open(path, fsync !== 'never')
  try {
    checkIdentity(path, readFact(environment, 'identity'), identity)
    if (!isTrusted(readFact(environment, 'run') as Run | undefined)) {
      onTrouble(`the machine was started anew after fsync never, and ${path} was not closed before: it is not trusted, and begins empty`)
      await environment.close()
      rmSync(path)
      environment = MirrorEnvironment.open(path, false)
    }
    const run: Run = { fsync, isOpen: true, boot: bootId() }
    const { synced } = await environment.commit([
      { key: factKey('identity'), value: jsonValue({ format: mirrorFormat, ...identity }) },
      { key: factKey('run'), value: jsonValue(run) },
    ])
    await synced
    return environment
  } catch (error) {
    await environment.close()
    throw error
  }
}

function checkIdentity(path: string, found: unknown, wanted: MirrorIdentity): void {
  if (found === undefined) return
  const { format, cluster, node, partitions } = found as MirrorIdentity & { readonly format: number }
  const refuse = (what: string): NearstateError => invalidArgument(`Cannot use the durable mirror ${path}: ${what}`)
  if (format !== mirrorFormat) {
    throw new NearstateError(
      'UNSUPPORTED_VERSION',
      `Cannot use the durable mirror ${path}: its format is ${format}, this release reads ${mirrorFormat}`,
    )
  }
  if (cluster !== wanted.cluster) throw refuse(`it belongs to cluster "${cluster}", this node to "${wanted.cluster}"`)
  if (node !== wanted.node) throw refuse(`it belongs to node "${node}", this one is "${wanted.node}"`)
  if (partitions !== wanted.partitions) throw refuse(`its cluster has ${partitions} partitions, this one ${wanted.partitions}`)
}

/** Without syncs a file is whole after a power cut only if it was closed before. */
function isTrusted(run: Run | undefined): boolean {
  if (run === undefined || !run.isOpen || run.fsync !== 'never') return true
  return run.boot !== undefined && run.boot !== '' && run.boot === bootId()
}

function readFact(environment: MirrorEnvironment, name: string): unknown {
  const bytes = environment.get(factKey(name))
  return bytes === undefined ? undefined : JSON.parse(bytes.toString())
}

const bootIdFile = '/proc/sys/kernel/random/boot_id'
const bootId = (): string => (existsSync(bootIdFile) ? readFileSync(bootIdFile, 'utf8').trim() : '')
