/**
 * Brings a savepoint's copy into the state of a job that starts from it, on the partitions of one shard, in slices. Stages with `upgrade`
 * have it called, as all user code is, for each of their keys: from then on nothing of the old shape is left.
 */
import { NearstateError } from '../../base/errors.ts'
import type { SavepointImport } from '../../grid/job-savepoint.ts'
import type { StateRow } from '../../grid/job-state.ts'
import { decodeMarks, encodeMarks } from '../../streaming/checkpoint/barrier-record.ts'
import type { RowCodec } from '../../streaming/exchange/frame.ts'
import type { HeldPartition } from '../held-partition.ts'
import type { SavepointSource } from '../protocol.ts'

/** The state of one stage as this code wants it, of what the savepoint has; INVALID_ARGUMENT or FUNCTION_FAILED when it cannot be. */
export type UpgradeRecords = (stage: string, records: readonly StateRow[]) => Promise<readonly StateRow[]>

export interface ImportNeeds {
  readonly job: string
  readonly source: SavepointSource
  readonly partitions: readonly number[]
  readonly codec: RowCodec
  /** Undefined: the stage's records are taken as they are. */
  readonly upgradeOf: (stage: string) => UpgradeRecords | undefined
  /** Throws when the attempt was stopped meanwhile. */
  readonly check: () => void
}

/** What an attempt's hold gives. */
export interface ImportPlace {
  held(partition: number): HeldPartition
  write<T>(held: HeldPartition, act: () => T): T
  importOf(held: HeldPartition, options: { job: string; id: string; attempt: number; without: ReadonlySet<string> }): SavepointImport
  /** Other events have their turn, and backups that are slow to answer theirs. */
  breathe(): Promise<void>
}

const sliceRecords = 512
/** Calls of user code in one slice. */
const upgradesAtOnce = 64

export async function importSavepoint(
  { job, source, partitions, codec, upgradeOf, check }: ImportNeeds,
  place: ImportPlace,
): Promise<void> {
  const without = new Set(source.without)
  for (const partition of partitions) {
    const copy = place.importOf(place.held(partition), { job, id: source.id, attempt: source.attempt, without })
    const write = <T>(act: () => T): T => place.write(place.held(partition), act)
    await place.breathe()
    check()
    if (copy.isDone) continue
    while (!write(() => copy.clear(sliceRecords))) await place.breathe()
    write(() => copy.begin())
    for (let read = copy.next(upgradesAtOnce); read !== undefined; read = copy.next(upgradesAtOnce)) {
      const { stage, records } = read
      const upgraded = (await upgradeOf(stage)?.(stage, records)) ?? records
      await place.breathe()
      check()
      write(() => {
        for (const record of upgraded) copy.put(stage, record)
      })
    }
    write(() => copy.end(bytes => encodeMarks(new Map([...decodeMarks(bytes, codec)].filter(([stage]) => !without.has(stage))), codec)))
  }
}

/** The value that `upgrade` gives for one record of a stage's keys; records of its timers are left as they are. */
export function upgradeRecord(record: StateRow, upgrade: (old: unknown) => unknown, codec: RowCodec): StateRow {
  if (record.key[0] !== 0) return record
  const [old, ...timers] = codec.decode(record.value) as readonly unknown[]
  const state = upgrade(old)
  if (state === undefined) throw new NearstateError('INVALID_ARGUMENT', 'upgrade gave no state: it must return one for every key')
  return { key: record.key, value: codec.encode([state, ...timers]) }
}
