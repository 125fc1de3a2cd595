/** What the engine writes into a job's log, from what changes in the job's record. */
import type { JobLogLine } from '../shard/protocol.ts'
import { isEnded, type RunFailure, type RunRecord } from '../streaming/master/record.ts'

export const infoLine = (message: string): JobLogLine => ({ level: 'info', from: 'engine', message })
export const warningLine = (message: string): JobLogLine => ({ level: 'warn', from: 'engine', message })

export const failureLine = (what: string, { message, stage, functionStack }: RunFailure): JobLogLine => ({
  level: 'error',
  from: 'engine',
  message: `${what}: ${message}`,
  ...(stage === undefined ? {} : { stage }),
  ...(functionStack === undefined ? {} : { stack: functionStack }),
})

export interface NewsContext {
  /** The last failure that was told of. */
  readonly toldFailure: string | undefined
  /** Name of the savepoint that the restore point is made of. */
  readonly savepoint: string | undefined
}

/** Attempts that begin and run, statuses that stay, failures that were not told of. */
export function newsOf(before: RunRecord, now: RunRecord, { toldFailure, savepoint }: NewsContext): readonly JobLogLine[] {
  const news: JobLogLine[] = []
  const { failure } = now
  const isNew = failure !== undefined && failure.message !== before.failure?.message && failure.message !== toldFailure
  if (isNew) news.push(failureLine(`attempt ${before.attempt} failed`, failure))
  if (now.attempt > before.attempt) news.push(infoLine(beginning(now, savepoint)))
  if (now.status !== before.status) {
    if (now.status === 'running') news.push(infoLine(`attempt ${now.attempt} runs`))
    else if (now.status === 'failed')
      news.push({ ...infoLine(`the job has failed: ${failure?.message ?? 'no reason was given'}`), level: 'error' })
    else if (isEnded(now) || now.status === 'suspended') news.push(infoLine(`the job is ${now.status}`))
  }
  return news
}

function beginning({ attempt, restore }: RunRecord, savepoint: string | undefined): string {
  if (savepoint !== undefined) return `attempt ${attempt} begins where savepoint ${savepoint} was`
  if (restore.attempt === 0) return `attempt ${attempt} begins with nothing`
  return `attempt ${attempt} begins where checkpoint ${restore.n} of attempt ${restore.attempt} was`
}
