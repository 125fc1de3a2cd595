/** HTTP of a node, for probes and Prometheus: /healthz (the process lives), /readyz (it has joined and serves), /metrics. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { messageOf, NearstateError } from '../base/errors.ts'
import { cannotListen } from './port-in-use.ts'

export interface HttpSources {
  /** undefined: ready; else why not. */
  readonly notReadyBecause: () => string | undefined
  readonly metrics: { readonly contentType: string; scrape(): Promise<string> }
}

export interface HttpServer {
  readonly port: number
  stop(): Promise<void>
}

export async function startHttpServer(host: string, port: number, sources: HttpSources): Promise<HttpServer> {
  const server = createServer((request, response) => {
    void answer(request, response, sources).catch(error => {
      if (!response.headersSent) response.writeHead(500, { 'content-type': 'text/plain' })
      response.end(`${messageOf(error)}\n`)
    })
  })
  server.requestTimeout = 10_000
  await new Promise<void>((resolve, reject) => {
    server.once('error', error => reject(cannotListen(error, 'HTTP', host, port, 'httpPort')))
    server.listen(port, host, resolve)
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new NearstateError('INTERNAL', 'the HTTP server has no port')
  return {
    port: address.port,
    stop: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(request: IncomingMessage, response: ServerResponse, sources: HttpSources): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end()
    return
  }
  switch (new URL(request.url ?? '/', 'http://node').pathname) {
    case '/healthz':
      sendText(response, 200, 'ok\n')
      return
    case '/readyz': {
      const reason = sources.notReadyBecause()
      sendText(response, reason === undefined ? 200 : 503, `${reason ?? 'ready'}\n`)
      return
    }
    case '/metrics':
      response.writeHead(200, { 'content-type': sources.metrics.contentType }).end(await sources.metrics.scrape())
      return
    default:
      sendText(response, 404, 'there are /healthz, /readyz and /metrics\n')
  }
}

function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text)
}
