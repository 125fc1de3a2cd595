/**
 * Entry of a shard's worker thread: hands Node's own things (the network, timers, the parent's port) to the Shard and starts it.
 * An exception that nobody handles is a bug: the worker ends with it, and the node goes down in an orderly way.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { present } from '../base/assert.ts'
import { monotonicClock } from '../base/clock.ts'
import { systemRandom } from '../base/random.ts'
import { connectorOf } from '../connectors/registry.ts'
import { createPeerLinks } from '../transport/peer-links.ts'
import { serveShard } from '../transport/grpc/serve-shard.ts'
import { JobHost } from './jobs/job-host.ts'
import type { FromShard, ShardStart, ToShard } from './protocol.ts'
import { Shard } from './shard.ts'
import { createUserCode } from './user-code/create-user-code.ts'
import { providedModules } from './user-code/provided-modules.ts'

const sweepEveryMs = 100

const port = present(parentPort, 'the port of a shard worker')
const start = workerData as ShardStart
const { limits } = start
const send = (message: FromShard): void => port.postMessage(message)
const log = (level: 'info' | 'warn' | 'error', message: string): void => send({ type: 'log', level, message, fields: {} })

const userCode = createUserCode({
  callCell: start.callCell,
  sliceMaxMs: limits.sliceMaxMs,
  userCodeTimeLimitMs: limits.userCodeTimeLimitMs,
  provided: providedModules,
  nowMs: () => monotonicClock.nowMs(),
  log,
})

const shard = new Shard({
  start,
  clock: monotonicClock,
  random: systemRandom,
  userCode,
  createNetwork(listener, addressOf) {
    const links = createPeerLinks({ self: start.id, addressOf, listener, messageMaxBytes: limits.messageMaxBytes })
    return {
      links,
      serve: server => serveShard({ host: start.host, port: start.port, server, links, messageMaxBytes: limits.messageMaxBytes }),
    }
  },
  createJobs: needs => new JobHost({ ...needs, connectorOf }),
  send,
  later: callback => void setImmediate(callback),
  after(ms, callback) {
    const timer = setTimeout(callback, ms)
    return () => clearTimeout(timer)
  },
  delay: ms => delay(ms, undefined, { ref: false }),
})

const sweeps = setInterval(() => shard.sweepExpired(), sweepEveryMs)
port.on('message', (message: ToShard) => {
  if (message.type === 'request' && message.request.kind === 'stop') clearInterval(sweeps)
  shard.receive(message)
})
send({ type: 'ready', port: await shard.serve() })
