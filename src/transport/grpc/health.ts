/** grpc.health.v1: every served service is SERVING from the start until the server stops. */
import { NearstateError } from '../../base/errors.ts'
import { HealthCheckResponse_ServingStatus as Serving, HealthDefinition } from '../../wire/generated/grpc/health/v1/health.ts'
import { type BoundService, bindService } from './service.ts'

export interface Health {
  readonly service: BoundService
  stop(): void
}

export function createHealth(serviceNames: readonly string[]): Health {
  const known = new Set(['', ...serviceNames])
  const stopping = new AbortController()
  const service = bindService(HealthDefinition, {
    async check(request) {
      if (!known.has(request.service))
        throw new NearstateError('NOT_FOUND', `Cannot check service "${request.service}": it is not served here`)
      return { status: stopping.signal.aborted ? Serving.NOT_SERVING : Serving.SERVING }
    },
    async *watch(request, { signal }) {
      if (!known.has(request.service)) yield { status: Serving.SERVICE_UNKNOWN }
      else if (!stopping.signal.aborted) yield { status: Serving.SERVING }
      await aborted(AbortSignal.any([signal, stopping.signal]))
      if (!signal.aborted) yield { status: Serving.NOT_SERVING }
    },
  })
  return { service, stop: () => stopping.abort() }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
