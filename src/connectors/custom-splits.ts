/** Source kind `custom` (`defineSource`): the splits are those that the author names; they are read by user code, on the shards (shard/jobs/custom-reader.ts). */
import { NearstateError } from '../base/errors.ts'
import type { Split } from '../streaming/assignment.ts'
import type { SourceConnector, SourceOptions, SplitReader } from '../streaming/source.ts'

export class CustomSplits implements SourceConnector {
  readonly kind = 'custom'

  listSplits({ splits }: SourceOptions): Promise<readonly Split[]> {
    return Promise.resolve((splits as readonly string[]).map(id => ({ id, descriptor: {} })))
  }

  open(): SplitReader {
    throw new NearstateError('INTERNAL', 'a source of user code was opened without its code')
  }
}
