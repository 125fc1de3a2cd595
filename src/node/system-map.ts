/** A system map seen from the control thread, through any of its shards; waits out moments in which a key's owner is not known yet. */
import { setTimeout as sleep } from 'node:timers/promises'
import { NearstateError } from '../base/errors.ts'
import type { ShardAnswers, ShardRequest } from '../shard/protocol.ts'
import type { SystemMap } from './bundle-store.ts'
import type { Shards } from './shards.ts'

/** Longer than a fail-over. */
const attemptsMax = 40
const retryMs = 100

export function systemMapOf(shards: Shards, map: string): SystemMap {
  return {
    get: async key => (await ask(shards, { kind: 'systemGet', map, key })).value,
    set: async (key, value) => void (await ask(shards, { kind: 'systemSet', map, key, value })),
    delete: async key => void (await ask(shards, { kind: 'systemDelete', map, key })),
  }
}

/** All three may be repeated: whole values are read and written. */
async function ask<R extends ShardRequest>(shards: Shards, request: R): Promise<ShardAnswers[R['kind']]> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await shards.any.request(request)
    } catch (error) {
      const mayPass = error instanceof NearstateError && (error.retryable || error.code === 'OUTCOME_UNKNOWN')
      if (!mayPass || attempt === attemptsMax) throw error
      await sleep(retryMs)
    }
  }
}
