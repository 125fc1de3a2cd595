/** A shard's gRPC port: the Data service over a DataServer, and the Peer service over its links. */
import { DataDefinition } from '../../wire/generated/nearstate/v1/data.ts'
import type { DataServer } from '../ports.ts'
import type { ShardPeerLinks } from '../peer-links.ts'
import { peerService } from './peer-service.ts'
import { pipeSerializers } from './pipe-serializers.ts'
import { servePipe } from './pipe-server.ts'
import { type GrpcServer, serveGrpc } from './server.ts'
import { bindService } from './service.ts'

export interface ShardServerOptions {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  readonly server: DataServer
  readonly links: ShardPeerLinks
  readonly messageMaxBytes?: number
}

export function serveShard({ host, port, server, links, messageMaxBytes }: ShardServerOptions): Promise<GrpcServer> {
  const data = bindService(
    DataDefinition,
    {
      pipe: call => servePipe(server, call),
      get: request => server.get(request),
      set: request => server.set(request),
      delete: request => server.delete(request),
      invoke: request => server.invoke(request),
      openSession: request => server.openSession(request),
    },
    { pipe: pipeSerializers },
  )
  const services = [data, peerService(links)]
  return serveGrpc({ host, port, services, ...(messageMaxBytes === undefined ? {} : { messageMaxBytes }) })
}
