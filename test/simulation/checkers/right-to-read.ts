/** I2: at any moment at most one shard has the right to answer reads of a partition. */
import type { PartitionId } from '../../../src/base/ids.ts'
import type { Report, World } from './checker.ts'

export function checkRightToRead(world: World, report: Report): void {
  for (let partition = 0; partition < world.partitionCount; partition += 1) {
    const readers = world.readersOf(partition as PartitionId)
    if (readers.length > 1) {
      report({ invariant: 'I2', atMs: world.nowMs, text: `partition ${partition}: ${readers.join(' and ')} may both answer reads` })
    }
  }
}
