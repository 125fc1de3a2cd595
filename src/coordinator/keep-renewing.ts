/** The pace of a session's renewals, the same for all coordinators in other processes. */
import { setTimeout as sleep } from 'node:timers/promises'
import { isAborted } from '../base/abort.ts'
import { systemClock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { OnReach } from '../membership/coordinator-port.ts'

export interface Renewals {
  readonly ttlMs: number
  /** Aborted by the owner when it closes the session, and here when the session has lapsed. */
  readonly ended: AbortController
  readonly onReach: OnReach
  /** False: the coordinator says that it has lapsed. Rejects while out of reach. */
  readonly renew: () => Promise<boolean>
}

/** Three times in the time to live, more often while out of reach. Never rejects. */
export async function keepRenewing({ ttlMs, ended, onReach, renew }: Renewals): Promise<void> {
  let renewedAtMs = systemClock.nowMs()
  let isOut = false
  const tell = (outBecause: string | undefined): void => {
    if (isOut === (outBecause !== undefined) || isAborted(ended.signal)) return
    isOut = outBecause !== undefined
    onReach(outBecause)
  }
  let pauseMs = ttlMs / 3
  while (!isAborted(ended.signal)) {
    await sleep(pauseMs, undefined, { signal: ended.signal }).catch(() => {})
    if (isAborted(ended.signal)) return
    try {
      const isThere = await renew()
      tell(undefined)
      if (!isThere) return ended.abort()
      renewedAtMs = systemClock.nowMs()
      pauseMs = ttlMs / 3
    } catch (error) {
      if (systemClock.nowMs() - renewedAtMs >= ttlMs) tell(messageOf(error))
      pauseMs = ttlMs / 10
    }
  }
}
