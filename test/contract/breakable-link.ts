/** A TCP connection to a server that a test can cut and mend: a cable, not a server. */
import { connect, createServer, type Server, type Socket } from 'node:net'

const host = '127.0.0.1'

export class BreakableLink {
  readonly #target: number
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined
  #port = 0

  private constructor(target: number) {
    this.#target = target
  }

  /** To host:port. */
  static async to(address: string): Promise<BreakableLink> {
    const link = new BreakableLink(Number(address.split(':').at(-1)))
    await link.mend()
    return link
  }

  get address(): string {
    return `${host}:${this.#port}`
  }

  async mend(): Promise<void> {
    const server = createServer(near => {
      const far = connect(this.#target, host)
      for (const socket of [near, far]) {
        this.#sockets.add(socket)
        socket.on('error', () => {})
        socket.on('close', () => {
          this.#sockets.delete(socket)
          near.destroy()
          far.destroy()
        })
      }
      near.pipe(far).pipe(near)
    })
    await new Promise<void>(resolve => server.listen(this.#port, host, resolve))
    const address = server.address()
    if (typeof address === 'object' && address !== null) this.#port = address.port
    this.#server = server
  }

  async cut(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = new Promise(resolve => server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}
