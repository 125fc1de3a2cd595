/**
 * User code on this worker thread, composed over Node's own things: a MessageChannel, setImmediate, the process' events.
 * Everything with a decision in it is in the files that this one joins.
 */
import { MessageChannel } from 'node:worker_threads'
import { resetValueCodec } from '../../wire/value-codec.ts'
import { callCellOver } from './call-cell.ts'
import { guardProcess } from './guarded-process.ts'
import { bundleFileName, type ProvidedModules } from './module-scope.ts'
import { Quarantine } from './quarantine.ts'
import { SliceRunner } from './slice-runner.ts'
import { snapshotOf, type ThrownSnapshot } from './thrown.ts'
import { createUserConsole, type UserLog } from './user-console.ts'
import { UserCode } from './user-code.ts'

export interface UserCodeOptions {
  /** ShardStart.callCell: shared with the node's watchdog. */
  readonly callCell: SharedArrayBuffer
  readonly sliceMaxMs: number
  readonly userCodeTimeLimitMs: number
  /** What bundles may import of Nearstate: `providedModules`. */
  readonly provided: ProvidedModules
  readonly nowMs: () => number
  /**
   * The node's log: what user code writes to its console, and rejected promises that it left behind. Those are logged and the
   * shard goes on; a rejection of the shard's own code ends the worker, as it should.
   */
  readonly log: UserLog
}

/** Lives as long as its thread. */
export function createUserCode(options: UserCodeOptions): UserCode {
  const { port1: inside, port2: outside } = new MessageChannel()
  const quarantine = new Quarantine()
  const exit: (code: number) => never = guardProcess()
  const runner = new SliceRunner({
    cell: callCellOver(options.callCell),
    quarantine,
    nowMs: options.nowMs,
    sliceMaxMs: options.sliceMaxMs,
    timeLimitMs: options.userCodeTimeLimitMs,
    wake() {
      inside.ref()
      outside.postMessage(null)
    },
    afterTurn: callback => void setImmediate(turnEnds, callback),
    onCutOff: resetValueCodec,
    lost(message) {
      // Ends this worker only, and so its node, in the orderly way that a dead shard has.
      process.stderr.write(`nearstate: ${message}\n`)
      exit(70)
    },
  })
  const turnEnds = (settle: () => void): void => {
    settle()
    if (runner.backlog === 0) inside.unref()
  }
  inside.on('message', () => runner.slice())
  // The port keeps the worker alive only while tasks wait.
  inside.unref()

  const log: UserLog = (level, message) => options.log(level, message, runner.jobAtWork)
  process.on('unhandledRejection', (reason: unknown) => {
    const snapshot = snapshotOf(reason)
    if (!isUserRejection(snapshot, runner)) throw reason
    log('warn', `User code left a rejected promise behind: ${snapshot.message}`)
  })
  return new UserCode(runner, quarantine, { modules: options.provided, console: createUserConsole(log, options.nowMs) })
}

/** By its stack; what has none is the user's if user code ran in this very turn of the event loop. */
const isUserRejection = (thrown: ThrownSnapshot, runner: SliceRunner): boolean =>
  thrown.stack.includes(bundleFileName('')) || (thrown.stack === '' && runner.inTurn)
