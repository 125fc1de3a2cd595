/**
 * Entry of a shard's worker thread: hands Node's own things (the network, timers, the parent's port) to the Shard and starts it.
 * An exception that nobody handles is a bug: the worker ends with it, and the node goes down in an orderly way.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { present } from '../base/assert.ts'
import { monotonicClock } from '../base/clock.ts'
import { systemRandom } from '../base/random.ts'
import { connectorOf, sinkConnectorOf } from '../connectors/registry.ts'
import { createPeerLinks } from '../transport/peer-links.ts'
import { ShardMirror } from '../durability/shard-mirror.ts'
import { serveShard } from '../transport/grpc/serve-shard.ts'
import { JobHost } from './jobs/job-host.ts'
import { failureOf } from './failure.ts'
import type { FromShard, ShardStart, ToShard } from './protocol.ts'
import { Shard } from './shard.ts'
import { createUserCode } from './user-code/create-user-code.ts'
import type { UserLog } from './user-code/user-console.ts'
import { providedModules } from './user-code/provided-modules.ts'

const sweepEveryMs = 100

const port = present(parentPort, 'the port of a shard worker')
const start = workerData as ShardStart
const { limits } = start
const send = (message: FromShard): void => port.postMessage(message)
const log = (level: 'info' | 'warn' | 'error', message: string): void => send({ type: 'log', level, message, fields: {} })

/** Its console: what a job's code writes is in the job's log too. */
const userLog: UserLog = (level, message, at) => {
  send({ type: 'log', level, message, fields: { ...at } })
  if (at === undefined) return
  const { job, stage } = at
  send({ type: 'jobLog', job, line: { level, from: 'console', message, ...(stage === undefined ? {} : { stage }) } })
}

const userCode = createUserCode({
  callCell: start.callCell,
  sliceMaxMs: limits.sliceMaxMs,
  userCodeTimeLimitMs: limits.userCodeTimeLimitMs,
  provided: providedModules,
  nowMs: () => monotonicClock.nowMs(),
  log: userLog,
})

/** A file that cannot be used is the operator's business: it is said, and the worker ends. */
async function openMirror(): Promise<ShardMirror | undefined> {
  const { persistence } = start
  if (persistence === undefined) return undefined
  try {
    return await ShardMirror.open({
      ...persistence,
      self: { node: start.node, shard: start.id },
      onProgress: partitions => shard.handleDurable(partitions),
      onTrouble: reason => {
        if (reason === undefined) log('info', 'the durable mirror is written again')
        else log('error', reason)
      },
    })
  } catch (error) {
    send({ type: 'refused', failure: failureOf(error) })
    // The message must leave before.
    await delay(1000)
    throw error
  }
}

const mirror = await openMirror()
const shard: Shard = new Shard({
  start,
  ...(mirror === undefined ? {} : { mirror }),
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
  createJobs: needs => new JobHost({ ...needs, connectorOf, sinkConnectorOf }),
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
send({ type: 'ready', port: await shard.serve(), found: mirror?.found ?? [] })
