import type { Clock } from '../../base/clock.ts'
import { SavepointImport } from '../../grid/job-savepoint.ts'
import type { Partitions } from '../partitions.ts'
import type { Tenure } from '../tenure.ts'
import type { ImportPlace } from './import-savepoint.ts'
import { writeEffects } from './write-effects.ts'

/** Imports write as the attempt does that begins with them: within the terms of its partitions. */
export function importPlace(parts: {
  readonly partitions: Partitions
  readonly tenure: Tenure
  readonly clock: Clock
}): Omit<ImportPlace, 'breathe'> {
  const { partitions, tenure, clock } = parts
  return {
    held: partition => tenure.held(partition),
    write: (held, act) => writeEffects(held, partitions, clock, act),
    importOf: ({ partition, replica, append }, options) =>
      new SavepointImport({ ...options, partition, store: replica.store, budget: partitions.budget, append }),
  }
}
