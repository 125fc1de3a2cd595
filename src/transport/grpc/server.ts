/** A gRPC server: the given services, and beside them the standard health and reflection services. */
import { Server, ServerCredentials } from '@grpc/grpc-js'
import type { Http2Server } from 'node:http2'
import { messageOf, NearstateError } from '../../base/errors.ts'
import { messageMaxBytesDefault } from '../../wire/limits.ts'
import { serveDuplex } from './duplex-call.ts'
import { createHealth } from './health.ts'
import { createReflection } from './reflection.ts'
import { connectionWindowBytes, frameMaxBytes, streamWindowBytes } from './windows.ts'
import type { BoundService } from './service.ts'

export interface GrpcServerOptions {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  readonly services: readonly BoundService[]
  /** Larger messages, in either direction, fail their call with RESOURCE_EXHAUSTED. */
  readonly messageMaxBytes?: number
}

export interface GrpcServer {
  readonly port: number
  /** Reports NOT_SERVING, takes no new calls, waits up to `graceMs` for those under way, and then cuts what is left. */
  stop(graceMs: number): Promise<void>
}

/** Rejects with UNAVAILABLE naming host and port when it cannot listen there. */
export async function serveGrpc(options: GrpcServerOptions): Promise<GrpcServer> {
  const messageMaxBytes = options.messageMaxBytes ?? messageMaxBytesDefault
  const health = createHealth(options.services.map(service => service.fullName))
  const names = [...options.services.map(service => service.fullName), health.service.fullName]
  const services = [...options.services, health.service, createReflection(names)]
  const server = new Server({
    'grpc.max_receive_message_length': messageMaxBytes,
    'grpc.max_send_message_length': messageMaxBytes,
    // Notices clients that vanished without a word; long enough for one whose event loop is busy.
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 20_000,
    // Not turned off: without its bookkeeping `forceShutdown` does not find the open connections.
    'grpc.enable_channelz': 1,
    // Two servers on one port would each see a part of the connections.
    'grpc.so_reuseport': 0,
  })
  for (const { definition, implementation } of services) server.addService(definition, implementation)
  const port = await listen(server, options.host, options.port)
  const duplex = new Map(services.flatMap(service => [...service.duplex]))
  for (const http2Server of http2ServersOf(server)) {
    widenWindows(http2Server)
    serveDuplex(http2Server, duplex, messageMaxBytes)
  }
  let stopped: Promise<void> | undefined
  return {
    port,
    stop: graceMs => {
      stopped ??= stop(server, health, graceMs)
      return stopped
    },
  }
}

function listen(server: Server, host: string, port: number): Promise<number> {
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (failure, bound) => {
      if (failure === null) resolve(bound)
      else {
        server.forceShutdown()
        reject(new NearstateError('UNAVAILABLE', `Cannot listen on ${address}: ${messageOf(failure)}`, { cause: failure }))
      }
    })
  })
}

/** Where grpc-js keeps them, which is not public. A release that keeps them elsewhere is found out by the first start, hence by every test. */
function http2ServersOf(server: Server): readonly Http2Server[] {
  const listening: unknown = Reflect.get(server, 'http2Servers')
  if (!(listening instanceof Map) || listening.size === 0)
    throw new Error('This release of @grpc/grpc-js keeps its http2 servers elsewhere')
  return [...(listening as Map<Http2Server, unknown>).keys()]
}

/**
 * Lets clients send more than HTTP/2's first 64 KB before they wait for us: a batch of sets is larger. grpc-js has no option for it
 * (its clients do).
 */
function widenWindows(server: Http2Server): void {
  server.on('session', session => {
    session.settings({ initialWindowSize: streamWindowBytes, maxFrameSize: frameMaxBytes })
    session.setLocalWindowSize(connectionWindowBytes)
  })
}

function stop(server: Server, health: { stop(): void }, graceMs: number): Promise<void> {
  health.stop()
  return new Promise(resolve => {
    const force = setTimeout(() => {
      server.forceShutdown()
      resolve()
    }, graceMs)
    server.tryShutdown(() => {
      clearTimeout(force)
      // Idle connections are still open.
      server.forceShutdown()
      resolve()
    })
  })
}
