import type { AddressInfo } from 'node:net'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** Passes connections on to a server and keeps the bytes that it answered, one buffer per connection. */
export class RecordingProxy {
  readonly answers: Buffer[] = []
  readonly #server: Server

  constructor(targetOrigin: string) {
    const { hostname, port } = new URL(targetOrigin)
    this.#server = createServer((client: Socket) => {
      const upstream = connect(Number(port), hostname)
      const index = this.answers.push(Buffer.alloc(0)) - 1
      upstream.on('data', (chunk: Buffer) => {
        this.answers[index] = Buffer.concat([this.answers[index] ?? Buffer.alloc(0), chunk])
      })
      client.pipe(upstream).pipe(client)
      for (const socket of [client, upstream]) socket.on('error', () => socket.destroy())
    })
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return this
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  stop(): void {
    this.#server.close()
  }
}
