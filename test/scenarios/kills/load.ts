import { Agent as Dispatcher, request } from 'undici'
import { systemClock } from '../../../proto/std/clock.js'

/** What one client saw of one request. */
export interface ClientView {
  readonly id: string
  readonly stream: boolean
  readonly embeddings: boolean
  /** The client meant to leave in the middle. */
  readonly leftOnPurpose: boolean
  /** HTTP status; 0 when there was none. */
  status: number
  /** The whole answer arrived, with its usage. */
  whole: boolean
  promptTokens: number | null
  completionTokens: number | null
}

export interface LoadOptions {
  agentUrl: string
  apiKey: string
  model: string
  embeddingsModel: string
  /** Clients that each send one request after the other. */
  clients: number
  random: () => number
}

/**
 * Clients that go on through whatever happens to the product: plain, streamed and embedding requests, some of which they
 * leave in the middle. Every request has an id of its own and is sent once; there are no retries, so what a server did
 * for an id was asked for exactly once.
 */
export class Load {
  readonly views: ClientView[] = []
  readonly #options: LoadOptions
  readonly #dispatcher = new Dispatcher({ connect: { timeout: 2_000 }, headersTimeout: 20_000, bodyTimeout: 20_000 })
  #running = false
  #loops: Promise<void>[] = []

  constructor(options: LoadOptions) {
    this.#options = options
  }

  start(): void {
    this.#running = true
    this.#loops = Array.from({ length: this.#options.clients }, (_, client) => this.#loop(client))
  }

  /** Returns when every running request ended, however it ended. */
  async stop(): Promise<void> {
    this.#running = false
    await Promise.all(this.#loops)
    await this.#dispatcher.destroy()
  }

  async #loop(client: number): Promise<void> {
    for (let ordinal = 0; this.#running; ordinal++) {
      const view = await this.#send(`load-${client}-${ordinal}`)
      this.views.push(view)
      // A dead agent refuses at once: without a pause this would be a busy loop.
      await systemClock.sleep(view.status === 0 ? 50 : 1 + 10 * this.#options.random())
    }
  }

  async #send(id: string): Promise<ClientView> {
    const kind = this.#options.random()
    const embeddings = kind < 0.1
    const stream = !embeddings && kind < 0.7
    const leftOnPurpose = stream && this.#options.random() < 0.15
    const view: ClientView = {
      id,
      stream,
      embeddings,
      leftOnPurpose,
      status: 0,
      whole: false,
      promptTokens: null,
      completionTokens: null,
    }
    try {
      const response = await request(`${this.#options.agentUrl}/v1/${embeddings ? 'embeddings' : 'chat/completions'}`, {
        method: 'POST',
        dispatcher: this.#dispatcher,
        headers: {
          authorization: `Bearer ${this.#options.apiKey}`,
          'content-type': 'application/json',
          'x-request-id': id,
        },
        body: JSON.stringify(
          embeddings
            ? { model: this.#options.embeddingsModel, input: `words of ${id}` }
            : {
                model: this.#options.model,
                messages: [{ role: 'user', content: `Say something about ${id}` }],
                ...(stream ? { stream: true, stream_options: { include_usage: true } } : {}),
              },
        ),
      })
      view.status = response.statusCode
      await (stream ? this.#readStream(response.body, view) : this.#readBody(response.body, view))
    } catch {
      // What a client sees of a kill: a reset, a refused connection. The record must be right all the same.
    }
    return view
  }

  async #readBody(body: { json(): Promise<unknown> }, view: ClientView): Promise<void> {
    const answer = (await body.json()) as { usage?: { prompt_tokens: number; completion_tokens?: number } }
    if (view.status !== 200 || !answer.usage) return
    view.promptTokens = answer.usage.prompt_tokens
    view.completionTokens = answer.usage.completion_tokens ?? 0
    view.whole = true
  }

  async #readStream(body: AsyncIterable<Buffer> & { destroy(): unknown }, view: ClientView): Promise<void> {
    let text = ''
    let chunkCount = 0
    for await (const chunk of body) {
      text += chunk.toString('utf8')
      chunkCount += 1
      if (view.leftOnPurpose && chunkCount >= 2) {
        body.destroy()
        return
      }
    }
    if (view.status !== 200 || !text.includes('data: [DONE]')) return
    const usage = text
      .split('\n')
      .filter((line) => line.startsWith('data: {'))
      .map(
        (line) => (JSON.parse(line.slice(6)) as { usage?: { prompt_tokens: number; completion_tokens: number } }).usage,
      )
      .findLast((found) => found)
    if (!usage) return
    view.promptTokens = usage.prompt_tokens
    view.completionTokens = usage.completion_tokens
    view.whole = true
  }
}
