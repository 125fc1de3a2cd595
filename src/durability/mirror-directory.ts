/**
 * A node's directory under `persistenceDir`: one file per shard, and a lock for the process that uses them.
 *
 *   <dir>/<node>/lock           pid and start of the process
 *   <dir>/<node>/shard-<n>.mdb  and its -lock, which is LMDB's
 */
import { mkdirSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, NearstateError } from '../base/errors.ts'

const fileForm = /^shard-(\d+)\.mdb$/

export interface MirrorDirectory {
  readonly path: string
  /** What each of so many shards opens. */
  filesOf(shard: number, shards: number): { readonly path: string; readonly orphans: readonly string[] }
  release(): void
}

/** ALREADY_EXISTS: another process uses it. INVALID_ARGUMENT: it cannot be written. */
export function claimMirrorDirectory(dir: string, nodeName: string): MirrorDirectory {
  const path = join(dir, nodeName)
  const lock = join(path, 'lock')
  try {
    mkdirSync(path, { recursive: true })
    takeLock(lock, path)
  } catch (cause) {
    if (cause instanceof NearstateError) throw cause
    throw new NearstateError('INVALID_ARGUMENT', `Cannot use persistenceDir ${dir}: ${messageOf(cause)}`, { cause })
  }
  return {
    path,
    filesOf: (shard, shards) => ({ path: join(path, `shard-${shard}.mdb`), orphans: orphansOf(path, shard, shards) }),
    release: () => {
      if (ownerOf(lock) === ownMark) unlinkSync(lock)
    },
  }
}

/** Files of shards beyond the present number go to one of those that are there. */
function orphansOf(path: string, shard: number, shards: number): readonly string[] {
  return readdirSync(path)
    .map(name => Number(fileForm.exec(name)?.[1] ?? -1))
    .filter(index => index >= shards && index % shards === shard)
    .map(index => join(path, `shard-${index}.mdb`))
}

function takeLock(lock: string, path: string): void {
  for (let attempt = 0; ; attempt += 1) {
    try {
      writeFileSync(lock, ownMark, { flag: 'wx' })
      return
    } catch (error) {
      const owner = ownerOf(lock)
      if (owner !== undefined && isAlive(owner)) {
        throw new NearstateError(
          'ALREADY_EXISTS',
          `Cannot use the durable mirror ${path}: process ${owner.split(' ')[0]} uses it; each node needs a name and directory of its own`,
        )
      }
      // Its process has ended; two that see so at once meet at `wx`.
      if (attempt > 3) throw error
      if (owner !== undefined) unlinkSync(lock)
    }
  }
}

function ownerOf(lock: string): string | undefined {
  try {
    return readFileSync(lock, 'utf8')
  } catch {
    // Gone, or never there.
    return undefined
  }
}

function isAlive(owner: string): boolean {
  const pid = Number(owner.split(' ')[0])
  if (!Number.isInteger(pid) || pid <= 0) return false
  if (owner === ownMark) return true
  const start = startOf(pid)
  if (start !== undefined) return owner === `${pid} ${start}`
  try {
    process.kill(pid, 0)
    // Where a process does not say when it started, its number alone counts.
    return owner === `${pid} `
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** When that process started, as Linux tells it; a number that is given anew is another process. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    // Not Linux, or no such process.
    return undefined
  }
}

const ownMark = `${process.pid} ${startOf(process.pid) ?? ''}`
