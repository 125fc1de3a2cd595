/** What a caller hears when a partition's replica does not take an operation. */
import { unreachable } from '../base/assert.ts'
import { NearstateError } from '../base/errors.ts'
import type { RefusalReason } from '../replication/replica-port.ts'
import { sessionWindow } from '../wire/limits.ts'
import type { ResultWriter } from '../wire/results.ts'

/** Nothing was done, save that `outcomeUnknown` may have been done long ago. */
export function writeRefusal(writer: ResultWriter, id: number, reason: RefusalReason): void {
  switch (reason) {
    case 'notPrimary':
      return writer.notOwner(id)
    case 'notServing':
    case 'noPromise':
    case 'logFull':
      return writer.notNow(id)
    case 'sessionUnknown':
      return writer.sessionUnknown(id)
    case 'notEnoughReplicas':
    case 'outcomeUnknown':
    case 'windowExceeded':
      return writer.error(id, refusalError(reason))
    default:
      return unreachable(reason)
  }
}

/** Refusals that `writeRefusal` words as NOT_OWNER or NOT_NOW. */
export const isSentAgain = (reason: RefusalReason): boolean =>
  reason === 'notPrimary' || reason === 'notServing' || reason === 'noPromise' || reason === 'logFull'

export function refusalError(reason: RefusalReason): NearstateError {
  switch (reason) {
    case 'notEnoughReplicas':
      return new NearstateError(
        'NOT_ENOUGH_REPLICAS',
        'Cannot write: the partition has fewer in-sync copies than minInSync; nothing was written',
      )
    case 'outcomeUnknown':
      return outcomeUnknown('its result was forgotten, since the client said that it needs it no more')
    case 'windowExceeded':
      return new NearstateError(
        'RESOURCE_EXHAUSTED',
        `Cannot write: its number is more than ${sessionWindow} above the lowest that the client has no answer to; send fewer at a time`,
      )
    case 'logFull':
      return new NearstateError(
        'RESOURCE_EXHAUSTED',
        'Cannot write: the copies of the partition lag behind by more than replicationLogMax; nothing was written',
      )
    case 'notPrimary':
    case 'notServing':
    case 'noPromise':
    case 'sessionUnknown':
      return new NearstateError('UNAVAILABLE', 'Cannot use the partition: this shard does not serve it now; nothing was done')
    default:
      return unreachable(reason)
  }
}

export const outcomeUnknown = (why: string): NearstateError =>
  new NearstateError('OUTCOME_UNKNOWN', `Cannot tell whether the write happened: ${why}`)
