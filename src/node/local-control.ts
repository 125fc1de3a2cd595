/** The Control service of this node: the leader's orders, carried out on every shard. The leader calls its own directly. */
import { present } from '../base/assert.ts'
import { invalidArgument } from '../base/errors.ts'
import type { MapId } from '../base/ids.ts'
import type { Assignment, Layout } from '../streaming/assignment.ts'
import type { SavepointSource } from '../shard/protocol.ts'
import type { Guarantee } from '../streaming/checkpoint/barrier-flow.ts'
import type { BundleStore } from './bundle-store.ts'
import type { Functions } from './functions.ts'
import type { MapRegistry } from './map-registry.ts'
import type { NodeControl } from './node-control.ts'
import type { Shards } from './shards.ts'

export interface LocalControlParts {
  readonly shards: Shards
  readonly maps: MapRegistry
  readonly functions: Functions
  readonly bundles: BundleStore
}

const startTimeoutMs = 60_000
/** The master gives a barrier up long before. */
const barrierTimeoutMs = 60_000

const savepointTimeoutMs = 600_000

export function createLocalControl({ shards, maps, functions, bundles }: LocalControlParts): NodeControl {
  return {
    async loadFunctions({ file, hash }) {
      return { names: [...(await functions.load(file, hash))] }
    },
    async dropMap({ name, id }) {
      maps.drop(name, id as MapId)
      // A shard takes its messages in order: when it answers this, it has dropped the map.
      await shards.requestAll({ kind: 'stats' })
      return {}
    },
    async openJob({ job, attempt, hash, argsJson, layoutJson, guarantee, restoreAttempt, restoreN, savepointJson }) {
      const layout = readJson<Layout>(job, layoutJson)
      const restore = { attempt: restoreAttempt, n: restoreN }
      const bundle = await bundles.load(hash)
      const savepoint = savepointJson === '' ? {} : { savepoint: readJson<SavepointSource>(job, savepointJson) }
      const start = { job, attempt, bundle, argsJson, layout, guarantee: guarantee as Guarantee, restore, ...savepoint }
      const request = { kind: 'openJob', ...start } as const
      const answers = await shards.requestAll(request, startTimeoutMs)
      return { graphHashes: answers.map(answer => answer.graphHash), splitsJson: answers.map(({ splits }) => JSON.stringify(splits)) }
    },
    async startJob({ job, attempt, assignmentJson }) {
      const assignment = readJson<Assignment>(job, assignmentJson)
      await shards.requestAll({ kind: 'startJob', job, attempt, assignment }, startTimeoutMs)
      return {}
    },
    async runJob({ job, attempt }) {
      await shards.requestAll({ kind: 'runJob', job, attempt })
      return {}
    },
    async barrierJob({ job, attempt, n, committed }) {
      return { json: JSON.stringify(await shards.requestAll({ kind: 'barrierJob', job, attempt, n, committed }, barrierTimeoutMs)) }
    },
    async commitJob({ job, attempt, n, isLast }) {
      await shards.requestAll({ kind: 'commitJob', job, attempt, n, isLast })
      return {}
    },
    async dropJob({ job, attempt, keep }) {
      return { partitions: (await shards.requestAll({ kind: 'dropJob', job, attempt, keep }, startTimeoutMs)).flat() }
    },
    async savepointJob({ job, attempt, n, savepoint }) {
      const answers = await shards.requestAll({ kind: 'savepointJob', job, attempt, n, savepoint }, savepointTimeoutMs)
      return { shards: answers.map(({ shard }) => shard) }
    },
    async stopJob({ job, attempt }) {
      await shards.requestAll({ kind: 'stopJob', job, attempt })
      return {}
    },
    async jobProgress({ job, attempt }) {
      return { json: JSON.stringify(await shards.requestAll({ kind: 'jobProgress', job, attempt }, 5000)) }
    },
  }
}

function readJson<T>(job: string, json: string): T {
  try {
    return present(JSON.parse(json) as T | null, 'assignment')
  } catch (error) {
    throw invalidArgument(`Cannot start job "${job}": its assignment is no JSON (${String(error)})`)
  }
}
