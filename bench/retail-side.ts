/** The process of `bench retail`: the job of examples/retail-360, as a shard would run it, over files in memory and the real store. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { orderLine } from '../examples/retail-360/generate-orders.ts'
import type { MapId } from '../src/base/ids.ts'
import { bundleFile } from '../src/bundling/bundle-file.ts'
import { CsvParser } from '../src/connectors/files/csv-parser.ts'
import { emptyBatch } from '../src/connectors/files/record-batch.ts'
import { StringCache } from '../src/connectors/files/string-cache.ts'
import { PartitionMap, unchanged } from '../src/grid/partition-map.ts'
import { encodeKeyInto, keyMaxBytes } from '../src/keys/encode-key.ts'
import type { KeyCodec } from '../src/keys/key-codec.ts'
import { MemoryMaps, runInProcess } from '../src/shard/jobs/in-process-run.ts'
import { evaluateBundle } from '../src/shard/user-code/module-scope.ts'
import { providedModules } from '../src/shard/user-code/provided-modules.ts'
import { applyEffect } from '../src/storage/effect.ts'
import { MemoryBudget } from '../src/storage/memory-budget.ts'
import { PartitionStore } from '../src/storage/partition-store.ts'
import { isJob, type Job } from '../src/streaming/graph/job.ts'
import type { LocalMap } from '../src/streaming/ports.ts'
import type { SourceConnector } from '../src/streaming/source.ts'
import { decodeValue } from '../src/wire/value-codec.ts'
import { serveSide } from './rounds.ts'

export interface Setup {
  readonly lines: number
  readonly bytes: number
  /** Where the lines are from. */
  readonly origin: string
}

/** One run of the job over all files. */
export interface Pass {
  readonly rows: number
  readonly ms: number
  readonly parsingMs: number
  readonly operatorsMs: number
  readonly exchangeMs: number
  readonly sinkMs: number
  readonly restMs: number
}

const partitionCount = 240
const chunkBytes = 64 * 1024
const generatedLines = 400_000

/** Maps on the off-heap store, as shard/local-maps.ts has them, for a thread that owns every partition. */
class StoreMaps extends MemoryMaps {
  readonly #budget = new MemoryBudget(2 ** 31)
  readonly #stores = Array.from({ length: partitionCount }, (_, seed) => new PartitionStore(this.#budget, seed))
  #nextId = 1

  override open(name: string, keyCodec: KeyCodec): LocalMap {
    const definition = {
      id: this.#nextId++ as MapId,
      name,
      keySpace: name,
      keyCodec,
      ttlMs: 0,
      maxIdleMs: 0,
      maxBytes: 0,
      eviction: 'none',
      createdAtMs: 0,
    } as const
    const parts = this.#stores.map(
      store =>
        new PartitionMap({
          definition,
          partitionCount,
          store,
          valueMaxBytes: 16 * 1024 * 1024,
          append: effect => applyEffect(store, effect),
        }),
    )
    const scratch = Buffer.allocUnsafeSlow(keyMaxBytes)
    return {
      get(partition, key) {
        const part = parts[partition] as PartitionMap
        if (!part.find(scratch, 0, encodeKeyInto(keyCodec, key, scratch, 0), 1)) return undefined
        return decodeValue(part.found.segment, part.found.valueStart, part.found.valueEnd)
      },
      setEncoded(partition, key, value) {
        const part = parts[partition] as PartitionMap
        const keyEnd = encodeKeyInto(keyCodec, key, scratch, 0)
        part.set(scratch, 0, keyEnd, value, 0, value.length, unchanged, unchanged, 1)
      },
    }
  }

  release(): void {
    for (const store of this.#stores) store.release()
  }
}

let shards = 1
let lines = 0
let files: readonly Buffer[] = []
let job: Job<never>
const strings = new StringCache()

const memoryFiles: SourceConnector = {
  kind: 'files',
  listSplits: () => Promise.resolve(files.map((_, index) => ({ id: `file ${index}`, descriptor: { index } }))),
  open(_, split) {
    const content = files[Number(split.descriptor['index'])] as Buffer
    const parser = new CsvParser(split.id, strings)
    let at = 0
    return {
      take() {
        if (at > content.length) return 'end'
        const batch = emptyBatch()
        if (at === content.length) parser.finish(batch)
        else parser.parse(content.subarray(at, at + chunkBytes), batch)
        at = at === content.length ? at + 1 : Math.min(at + chunkBytes, content.length)
        return { origin: split.id, ...batch }
      },
      close() {},
    }
  },
}

async function setup(given: { readonly shards: number; readonly data: string }): Promise<Setup> {
  shards = given.shards
  const { code, hash } = await bundleFile(fileURLToPath(new URL('../examples/retail-360/job.ts', import.meta.url)))
  const exported = evaluateBundle(Buffer.from(code).toString(), hash, { modules: providedModules, console: {} }) as {
    readonly default?: unknown
  }
  if (!isJob(exported.default)) throw new Error('examples/retail-360/job.ts exports no job')
  job = exported.default as unknown as Job<never>
  const isThere = existsSync(given.data)
  files = isThere ? readFiles(given.data) : [generatedFile()]
  const [pass] = await round({ durationMs: 0 })
  lines = pass?.rows ?? 0
  const bytes = files.reduce((sum, file) => sum + file.length, 0)
  return { lines, bytes, origin: isThere ? 'the files of Online Retail' : 'generated, as there is no folder of data' }
}

function readFiles(folder: string): readonly Buffer[] {
  const names = readdirSync(folder).filter(name => /\.csv(\.gz)?$/.test(name))
  if (names.length === 0) throw new Error(`folder "${folder}" holds no *.csv or *.csv.gz`)
  return names.sort().map(name => {
    const bytes = readFileSync(join(folder, name))
    return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes
  })
}

function generatedFile(): Buffer {
  const rows = ['InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n']
  for (let n = 0; n < generatedLines; n += 1) {
    const { invoiceNo, quantity, date, revenueMills, customerId, country } = orderLine(1, n)
    const product = (n * 7919) % 3600
    const price = revenueMills / quantity / 1000
    rows.push(
      `${invoiceNo},${10_000 + product},"PRODUCT ${product}, BOXED",${quantity},${date},${price},${customerId === undefined ? '' : `${customerId}.0`},${country}\n`,
    )
  }
  return Buffer.from(rows.join(''))
}

/** Whole passes until the time is over, one at least. */
async function round({ durationMs }: { readonly durationMs: number }): Promise<readonly Pass[]> {
  const passes: Pass[] = []
  const startedMs = performance.now()
  do passes.push(await onePass())
  while (performance.now() - startedMs < durationMs)
  return passes
}

async function onePass(): Promise<Pass> {
  const profile = { nowMs: () => performance.now(), parsingMs: 0, operatorsMs: 0, exchangeMs: 0, sinkMs: 0 }
  const maps = new StoreMaps()
  const startedMs = performance.now()
  const { stages } = await runInProcess({
    job,
    args: { data: 'in memory' },
    shards,
    partitions: partitionCount,
    connectorOf: () => memoryFiles,
    maps,
    profile,
  })
  const ms = performance.now() - startedMs
  maps.release()
  const rows = stages.get('order lines')?.rowsOut ?? 0
  const broken = stages.get('order lines')?.deadLetters ?? 0
  if (broken > 0 || (lines > 0 && rows !== lines))
    throw new Error(`${rows} lines came through and ${broken} were broken, ${lines} were there`)
  const { parsingMs, operatorsMs, exchangeMs, sinkMs } = profile
  return { rows, ms, parsingMs, operatorsMs, exchangeMs, sinkMs, restMs: ms - parsingMs - operatorsMs - exchangeMs - sinkMs }
}

serveSide({ setup, round })
