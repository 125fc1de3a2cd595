/**
 * One node as a process of its own: signals, exit code, and the channel to `nearstate dev` where there is one.
 *
 * SIGTERM and SIGINT hand over what the node holds, stop in order and exit with 0; another one a second later exits at once. So does a
 * node that was asked to leave. A node that had to stop by itself exits with 1.
 * Under a supervisor the terminal's Ctrl-C is left to it, and a closed channel means that it is gone: the node ends.
 */
import { NearstateError } from '../base/errors.ts'
import type { Config } from '../config/config.ts'
import { failureOf } from '../shard/failure.ts'
import type { FromDevNode, ToDevNode } from './dev-messages.ts'
import { impatience } from './impatience.ts'
import { type RunningNode, runNode } from './run-node.ts'

/** Rejects when the node cannot start (a supervisor is told instead). Otherwise the process ends with the node. */
export async function runNodeProcess(config: Config): Promise<void> {
  const supervised = process.send !== undefined
  const tell = (message: FromDevNode): void => {
    if (process.connected) process.send?.(message)
  }
  let node: RunningNode | undefined
  let stopping = false
  const isImpatient = impatience()
  const stop = (quietly: boolean): void => {
    if (node === undefined) process.exit(0)
    if (isImpatient()) process.exit(1)
    if (stopping) return
    stopping = true
    void node.stop({ quietly }).then(() => process.exit(0))
  }
  process.on('SIGTERM', () => stop(false))
  process.on('SIGINT', () => {
    if (!supervised) stop(false)
  })
  process.once('disconnect', () => stop(true))
  process.once('message', (message: ToDevNode) => {
    if (message.kind === 'stop') stop(true)
  })
  try {
    node = await runNode(config, { onListening: (address, http) => tell({ kind: 'listening', address, http }) })
    void node.failed.then(() => process.exit(1))
    void node.left.then(() => {
      tell({ kind: 'left' })
      // The message goes first.
      setImmediate(() => process.exit(0))
    })
    await node.ready
    tell({ kind: 'ready' })
  } catch (error) {
    if (stopping && error instanceof NearstateError && error.code === 'CANCELLED') return
    if (!supervised) throw error
    const { code, message } = failureOf(error)
    process.send?.({ kind: 'failed', code, message } satisfies FromDevNode, () => process.exit(1))
  }
}
