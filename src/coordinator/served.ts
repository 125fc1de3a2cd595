/** Serves an embedded coordinator to other processes (coordinator.proto). What comes in is checked here. */
import { isAborted } from '../base/abort.ts'
import { invalidArgument, NearstateError } from '../base/errors.ts'
import type { CoordinatorValue } from '../membership/coordinator-port.ts'
import { serveGrpc } from '../transport/grpc/server.ts'
import { bindService, type Implementation } from '../transport/grpc/service.ts'
import {
  CoordinatorDefinition,
  type CoordinatorEvent,
  type CoordinatorValue as WireValue,
} from '../wire/generated/nearstate/v1/coordinator.ts'
import { asBuffer } from './buffers.ts'
import type { EmbeddedCoordinator } from './embedded.ts'

export interface CoordinatorServer {
  readonly port: number
  /** Ends all watches and closes the port. The coordinator itself goes on. */
  stop(graceMs: number): Promise<void>
}

const keyMaxLength = 512
const ttlMinMs = 100
const ttlMaxMs = 600_000
/** Events that a slow watcher has not taken. Above this its stream ends, and it starts anew with the values of that moment. */
const watchQueueMax = 10_000

/** Listens at once; port 0: any free one. */
export async function serveCoordinator(
  coordinator: EmbeddedCoordinator,
  address: { readonly host: string; readonly port: number },
): Promise<CoordinatorServer> {
  const stopping = new AbortController()
  const services = [bindService(CoordinatorDefinition, implementation(coordinator, stopping.signal))]
  const server = await serveGrpc({ ...address, services })
  return {
    port: server.port,
    stop: async graceMs => {
      stopping.abort()
      await server.stop(graceMs)
    },
  }
}

function implementation(coordinator: EmbeddedCoordinator, stopping: AbortSignal): Implementation<typeof CoordinatorDefinition> {
  return {
    read: async ({ key }) => ({ value: toWireOrNone(await coordinator.read(key)) }),
    list: async ({ prefix }) => ({ values: (await coordinator.list(prefix)).map(toWire) }),
    compareAndSet: async ({ key, expectedVersion, value }) => {
      checkKey(key)
      const { kind, version } = await coordinator.compareAndSet(key, Number(expectedVersion), value)
      return { done: kind === 'done', version: BigInt(version) }
    },
    watch: ({ prefix }, { signal }) => watchEvents(coordinator, prefix, AbortSignal.any([signal, stopping]), stopping),
    renewSession: async ({ id, key, value, ttlMs }) => {
      if (id !== '') return { id, lapsed: !coordinator.renewSession(id) }
      checkKey(key)
      if (ttlMs < ttlMinMs || ttlMs > ttlMaxMs) {
        throw invalidArgument(`Cannot open session "${key}": time to live is ${ttlMs} ms, limits are ${ttlMinMs} and ${ttlMaxMs}`)
      }
      return { id: coordinator.startSession(key, value, Number(ttlMs)), lapsed: false }
    },
    closeSession: async ({ id }) => {
      coordinator.endSession(id)
      return { id, lapsed: true }
    },
  }
}

async function* watchEvents(
  coordinator: EmbeddedCoordinator,
  prefix: string,
  ended: AbortSignal,
  stopping: AbortSignal,
): AsyncGenerator<CoordinatorEvent> {
  let queue: CoordinatorEvent[] = []
  let wake = Promise.withResolvers<void>()
  let isCaughtUp = false
  let isBehind = false
  const offer = (event: CoordinatorEvent): void => {
    // The values of the start come at once, however many they are.
    if (isCaughtUp && queue.length >= watchQueueMax) {
      isBehind = true
      watch.stop()
    } else queue.push(event)
    isCaughtUp ||= event.caughtUp
    wake.resolve()
  }
  const watch = coordinator.watch(prefix, {
    onValue: value => offer({ value: toWire(value), deleted: false, caughtUp: false }),
    onDelete: key => offer({ value: { key, value: Buffer.alloc(0), version: 0n }, deleted: true, caughtUp: false }),
    onCaughtUp: () => offer({ value: undefined, deleted: false, caughtUp: true }),
  })
  const onEnd = (): void => wake.resolve()
  ended.addEventListener('abort', onEnd)
  try {
    while (!isAborted(ended)) {
      if (queue.length === 0) await wake.promise
      wake = Promise.withResolvers()
      const events = queue
      queue = []
      for (const event of events) {
        yield event
        if (isBehind) {
          throw new NearstateError(
            'RESOURCE_EXHAUSTED',
            `The watch of "${prefix}" is ended: its reader is more than ${watchQueueMax} changes behind`,
          )
        }
      }
    }
    if (isAborted(stopping)) throw new NearstateError('UNAVAILABLE', 'The coordinator stops')
  } finally {
    ended.removeEventListener('abort', onEnd)
    watch.stop()
  }
}

const toWire = ({ key, value, version }: CoordinatorValue): WireValue => ({ key, value: asBuffer(value), version: BigInt(version) })
const toWireOrNone = (value: CoordinatorValue | undefined): WireValue | undefined => (value === undefined ? undefined : toWire(value))

function checkKey(key: string): void {
  if (key === '' || key.length > keyMaxLength)
    throw invalidArgument(`Cannot use a coordinator key of ${key.length} characters: 1 to ${keyMaxLength} are wanted`)
}
