/**
 * Sends `Runtime.terminateExecution` to a worker thread of this process, through the NodeWorker domain of node:inspector.
 *
 * Owns: the one inspector session of the process, shared by all watchdogs, open while one of them runs. A session in the process
 * opens no port, and sets no breakpoint: it costs the workers nothing until it sends something.
 */
import { Session } from 'node:inspector'
import { isMainThread } from 'node:worker_threads'

interface AttachedToWorker {
  readonly sessionId: string
  readonly workerInfo: { readonly title: string }
}

class ExecutionStopper {
  readonly #session = new Session()
  readonly #sessionByThread = new Map<number, string>()
  readonly #waiting = new Map<string, (error: string | undefined) => void>()
  #messageId = 0

  async open(): Promise<void> {
    if (isMainThread) this.#session.connect()
    else this.#session.connectToMainThread()
    this.#session.on('NodeWorker.attachedToWorker', ({ params }: { params: AttachedToWorker }) => {
      const threadId = Number(/^\[worker (\d+)\]/.exec(params.workerInfo.title)?.[1])
      this.#sessionByThread.set(threadId, params.sessionId)
    })
    this.#session.on('NodeWorker.detachedFromWorker', ({ params }: { params: { sessionId: string } }) => {
      for (const [threadId, sessionId] of this.#sessionByThread) if (sessionId === params.sessionId) this.#sessionByThread.delete(threadId)
    })
    this.#session.on('NodeWorker.receivedMessageFromWorker', ({ params }: { params: { sessionId: string; message: string } }) =>
      this.#onAnswer(params.sessionId, params.message),
    )
    await new Promise<void>((resolve, reject) => {
      this.#session.post('NodeWorker.enable', { waitForDebuggerOnStart: false }, error => (error === null ? resolve() : reject(error)))
    })
  }

  close(): void {
    this.#session.disconnect()
    for (const answer of this.#waiting.values()) answer('the session is closed')
    this.#waiting.clear()
  }

  /** Undefined: the worker was told. Else why not: nothing was cut off, and it may be sent again. */
  terminate(threadId: number): Promise<string | undefined> {
    const sessionId = this.#sessionByThread.get(threadId)
    if (sessionId === undefined) return Promise.resolve(`no inspector session is attached to worker ${threadId}`)
    this.#messageId += 1
    const message = JSON.stringify({ id: this.#messageId, method: 'Runtime.terminateExecution' })
    const key = `${sessionId}/${this.#messageId}`
    return new Promise(resolve => {
      this.#waiting.set(key, resolve)
      this.#session.post('NodeWorker.sendMessageToWorker', { sessionId, message }, error => {
        if (error !== null) this.#answer(key, error.message)
      })
    })
  }

  #onAnswer(sessionId: string, text: string): void {
    const { id, error }: { id?: number; error?: { message: string } } = JSON.parse(text)
    if (id !== undefined) this.#answer(`${sessionId}/${id}`, error?.message)
  }

  #answer(key: string, error: string | undefined): void {
    this.#waiting.get(key)?.(error)
    this.#waiting.delete(key)
  }
}

let shared: { readonly stopper: ExecutionStopper; readonly opened: Promise<void>; users: number } | undefined

export interface StopperLease {
  terminate(threadId: number): Promise<string | undefined>
  release(): void
}

export async function leaseStopper(): Promise<StopperLease> {
  if (shared === undefined) {
    const stopper = new ExecutionStopper()
    shared = { stopper, opened: stopper.open(), users: 0 }
  }
  const mine = shared
  mine.users += 1
  await mine.opened
  let released = false
  return {
    terminate: threadId => mine.stopper.terminate(threadId),
    release() {
      if (released) return
      released = true
      mine.users -= 1
      if (mine.users > 0) return
      shared = undefined
      mine.stopper.close()
    },
  }
}
