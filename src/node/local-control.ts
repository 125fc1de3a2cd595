/** The Control service of this node: the leader's orders, carried out on every shard. The leader calls its own directly. */
import { present } from '../base/assert.ts'
import { invalidArgument } from '../base/errors.ts'
import type { MapId } from '../base/ids.ts'
import type { Assignment } from '../streaming/assignment.ts'
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
    async startJob({ job, attempt, hash, argsJson, assignmentJson }) {
      const assignment = readAssignment(job, assignmentJson)
      const bundle = await bundles.load(hash)
      const answers = await shards.requestAll({ kind: 'startJob', job, attempt, bundle, argsJson, assignment }, startTimeoutMs)
      return { graphHashes: answers.map(answer => answer.graphHash) }
    },
    async runJob({ job, attempt }) {
      await shards.requestAll({ kind: 'runJob', job, attempt })
      return {}
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

function readAssignment(job: string, json: string): Assignment {
  try {
    return present(JSON.parse(json) as Assignment | null, 'assignment')
  } catch (error) {
    throw invalidArgument(`Cannot start job "${job}": its assignment is no JSON (${String(error)})`)
  }
}
