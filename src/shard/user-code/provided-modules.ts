/**
 * What `nearstate`, `nearstate/functions` and `nearstate/stream` are inside a bundle: the same names as those entry points export
 * (a test compares them), the same instances as the shard's own code uses.
 */
import { NearstateError } from '../../base/errors.ts'
import { defineFunctions, entryFunction } from '../../grid/functions.ts'
import { defineKey, defineTupleKey } from '../../keys/key-space.ts'
import { avg, count, countDistinct, defineAggregate, max, min, sum } from '../../streaming/graph/aggregate.ts'
import { defineJob } from '../../streaming/graph/job.ts'
import { defineSource } from '../../streaming/graph/custom-source.ts'
import { collect, defineSink, filesSink } from '../../streaming/graph/sink-descriptors.ts'
import { files, generator } from '../../streaming/graph/source-descriptors.ts'
import { row } from '../../streaming/graph/stage-types.ts'
import { countWindow, session, sliding, tumbling } from '../../streaming/graph/window-spec.ts'
import type { ProvidedModules } from './module-scope.ts'

const connect = (): never => {
  throw new NearstateError(
    'INVALID_ARGUMENT',
    'connect() does not run inside a shard: functions and jobs reach maps through what they are given',
  )
}

const everywhere = { defineKey, defineTupleKey, NearstateError }
const sources = { defineSource, files, generator }
const sinks = { collect, defineSink, filesSink }
const aggregates = { avg, count, countDistinct, defineAggregate, max, min, sum }
const windows = { countWindow, session, sliding, tumbling }

export const providedModules: ProvidedModules = {
  nearstate: { ...everywhere, connect },
  'nearstate/functions': { ...everywhere, defineFunctions, entryFunction },
  'nearstate/stream': { ...everywhere, defineJob, row, ...windows, ...sources, ...sinks, ...aggregates },
}
