/**
 * Sink kind `files`: JSON lines, one file per task and checkpoint, visible when the checkpoint is committed.
 *
 *   DIR/.pending/<job id>~<stage>~<attempt>~<n>~<task>.jsonl   prepared: whole and synced       --commit: rename-->
 *   DIR/<stage>-<job id>-<attempt>-<n>-<task>.jsonl
 *
 * The directory must be one that every node of the cluster sees under this path: what is prepared has to outlive its node. A handle
 * names both files; committing is a rename, and one that was done already is found by the file's being there.
 *
 * At most `bufferedMaxBytes` wait to be written; at the bound `write` says that it is full.
 */
import { type FileHandle, mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { invalidArgument, messageOf, NearstateError } from '../../base/errors.ts'
import type { SinkConnector, SinkHandle, SinkListener, SinkOptions, SinkTask, SinkWriter } from '../../streaming/sink.ts'

const bufferedMaxBytes = 4 * 1024 * 1024
const pendingFolder = '.pending'

export class FileSinkConnector implements SinkConnector {
  readonly kind = 'files'

  open(options: SinkOptions, task: SinkTask, listener: SinkListener): SinkWriter {
    return new FileWriter(pathOf(options), task, listener)
  }

  commit(_options: SinkOptions, handle: SinkHandle, done: (error?: NearstateError) => void): void {
    const { from, to } = JSON.parse(handle) as { readonly from: string; readonly to: string }
    settle(commitFile(from, to), done)
  }

  endOthers(options: SinkOptions, task: Omit<SinkTask, 'task'>, done: (error?: NearstateError) => void): void {
    settle(removeOthers(join(pathOf(options), pendingFolder), task), done)
  }
}

function pathOf({ path, ...others }: SinkOptions): string {
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) throw invalidArgument(`Cannot write files: unknown option "${unknown}"; there is path`)
  if (typeof path !== 'string' || path === '') throw invalidArgument('Cannot write files: path must name a directory that every node sees')
  return path
}

class FileWriter implements SinkWriter {
  failure: NearstateError | undefined
  readonly #path: string
  readonly #task: SinkTask
  readonly #listener: SinkListener
  /** Not written yet; each barrier begins others, for what comes behind it may come while what is before it is written. */
  #lines: string[] = []
  #bufferedBytes = 0
  #isFull = false
  #file: FileHandle | undefined
  /** The file being written has this name until it is prepared: barriers are numbered when they come. */
  #parts = 0
  #part = ''
  /** One thing after the other; never rejects. */
  #last: Promise<void> = Promise.resolve()

  constructor(path: string, task: SinkTask, listener: SinkListener) {
    this.#path = path
    this.#task = task
    this.#listener = listener
  }

  write(rows: readonly unknown[]): boolean {
    for (const row of rows) {
      const line = `${JSON.stringify(row) ?? 'null'}\n`
      this.#lines.push(line)
      this.#bufferedBytes += line.length
    }
    const lines = this.#lines
    this.#next(() => this.#flush(lines))
    this.#isFull = this.#bufferedBytes >= bufferedMaxBytes
    return !this.#isFull
  }

  prepare(n: number): void {
    const lines = this.#lines
    this.#lines = []
    this.#next(() => this.#prepare(n, lines))
  }

  /** Also after a failure: a disk that is full must not cost a descriptor with every attempt. */
  close(): void {
    this.#last = this.#last.then(async () => {
      const file = this.#file
      this.#file = undefined
      await file?.close().catch(() => undefined)
    })
  }

  #next(step: () => Promise<void>): void {
    this.#last = this.#last.then(async () => {
      if (this.failure !== undefined) return
      try {
        await step()
      } catch (thrown) {
        this.failure = new NearstateError('UNAVAILABLE', `Cannot write files in "${this.#path}": ${messageOf(thrown)}`, { cause: thrown })
        this.#listener.onReady()
      }
    })
  }

  async #flush(lines: string[]): Promise<void> {
    if (lines.length === 0) return
    const text = lines.splice(0).join('')
    if (this.#file === undefined) {
      this.#parts += 1
      this.#part = join(this.#path, pendingFolder, pendingName(this.#task, `part${this.#parts}`))
      await mkdir(dirname(this.#part), { recursive: true })
      this.#file = await open(this.#part, 'w')
    }
    await this.#file.writeFile(text)
    this.#bufferedBytes -= text.length
    if (!this.#isFull || this.#bufferedBytes >= bufferedMaxBytes) return
    this.#isFull = false
    this.#listener.onReady()
  }

  async #prepare(n: number, lines: string[]): Promise<void> {
    await this.#flush(lines)
    const file = this.#file
    if (file === undefined) {
      this.#listener.onPrepared(n, undefined)
      return
    }
    await file.sync()
    this.#file = undefined
    await file.close()
    const { stage, jobId, attempt, task } = this.#task
    const from = join(this.#path, pendingFolder, pendingName(this.#task, String(n)))
    await rename(this.#part, from)
    await syncFolder(dirname(from))
    const to = join(this.#path, `${[stage, jobId, attempt, n, task].map(part => encodeURIComponent(part)).join('-')}.jsonl`)
    this.#listener.onPrepared(n, JSON.stringify({ from, to }))
  }
}

const pendingName = ({ jobId, stage, attempt, task }: SinkTask, n: string): string =>
  `${[jobId, stage, String(attempt), n, task].map(part => encodeURIComponent(part).replaceAll('~', '%7E')).join('~')}.jsonl`

async function commitFile(from: string, to: string): Promise<void> {
  try {
    await rename(from, to)
  } catch (thrown) {
    // Committed before: the file is there under its own name. If it is not, it is lost.
    const isThere = await stat(to).then(
      () => true,
      () => false,
    )
    if (!isThere) throw thrown
  }
  await syncFolder(dirname(to))
}

async function removeOthers(folder: string, { jobId, stage, attempt }: Omit<SinkTask, 'task'>): Promise<void> {
  const names = await readdir(folder).catch(() => [])
  for (const name of names) {
    const [job, ofStage, ofAttempt] = name.split('~').map(part => decodeURIComponent(part))
    if (job !== jobId || ofStage !== stage || !(Number(ofAttempt) < attempt)) continue
    await unlink(join(folder, name)).catch(() => undefined) // another one was faster
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function settle(work: Promise<void>, done: (error?: NearstateError) => void): void {
  work.then(
    () => done(),
    (thrown: unknown) =>
      done(new NearstateError('UNAVAILABLE', `Cannot end output of a file sink: ${messageOf(thrown)}`, { cause: thrown })),
  )
}
