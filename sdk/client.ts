import { operations } from './gen/operations.js'
import type { Operation } from './operation.js'
import { SwitchyardError } from './switchyard-error.js'
import { retryDelayMs, wait } from './wait.js'

export type * from './gen/types.js'
export { SwitchyardError } from './switchyard-error.js'

export interface ClientOptions {
  /** The control plane's GraphQL endpoint, for example `https://switchyard.example.com/graphql`. */
  url: string
  /** A bearer token, or a function that fetches the one that is valid now. */
  token: string | (() => string | Promise<string>)
  /** Per try, in milliseconds. */
  timeoutMs?: number
  /** Tries of a query beyond the first, when the control plane cannot be reached or says so; mutations are never repeated. */
  retriesMax?: number
  fetch?: typeof globalThis.fetch
}

export interface CallOptions {
  signal?: AbortSignal
  timeoutMs?: number
}

type Operations = typeof operations
type ResultOf<O> = O extends Operation<infer Result, infer _> ? Result : never
type VariablesOf<O> = O extends Operation<infer _, infer Variables> ? Variables : never
type Arguments<Variables> =
  Record<string, never> extends Variables
    ? [variables?: Variables, options?: CallOptions]
    : [variables: Variables, options?: CallOptions]

/** One method per operation of the SDK, and `call` for operations of your own. */
export type SwitchyardClient = {
  readonly [Name in keyof Operations]: (
    ...args: Arguments<VariablesOf<Operations[Name]>>
  ) => Promise<ResultOf<Operations[Name]>>
} & {
  call<Result, Variables>(
    operation: Operation<Result, Variables>,
    variables: Variables,
    options?: CallOptions,
  ): Promise<Result>
}

/**
 * A client of the control plane. Every failure is a `SwitchyardError` with a code, and with the field where it is about
 * one. Queries are repeated a few times while the control plane is away; a mutation is sent once.
 */
export function createClient(options: ClientOptions): SwitchyardClient {
  const transport = new Transport(options)
  const methods = Object.fromEntries(
    Object.values(operations).map((operation) => [
      operation.name,
      (variables: object = {}, callOptions: CallOptions = {}) => transport.call(operation, variables, callOptions),
    ]),
  )
  const call = (operation: Operation<unknown, unknown>, variables: unknown, callOptions: CallOptions = {}) =>
    transport.call(operation, variables as object, callOptions)
  return Object.freeze({ ...methods, call }) as unknown as SwitchyardClient
}

interface Connection<Node> {
  readonly edges: readonly { readonly node: Node }[]
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null }
}

/**
 * Every node of a list, page after page:
 *
 *     for await (const key of everyNode(async (after) => (await client.apiKeys({ after })).apiKeys)) …
 */
export async function* everyNode<Node>(
  fetchPage: (after: string | null) => Promise<Connection<Node>>,
): AsyncGenerator<Node, void> {
  for (let after: string | null = null; ; ) {
    const page: Connection<Node> = await fetchPage(after)
    for (const { node } of page.edges) yield node
    if (!page.pageInfo.hasNextPage) return
    after = page.pageInfo.endCursor
  }
}

interface GraphqlError {
  readonly message: string
  readonly extensions?: { readonly [name: string]: unknown }
}

/** Statuses and codes after which a query may simply be asked again. */
const retryableStatuses = new Set([429, 502, 503, 504])
const retryableCodes = new Set(['UNREACHABLE', 'TIMEOUT', 'UNAVAILABLE'])

class Transport {
  readonly #options: ClientOptions

  constructor(options: ClientOptions) {
    this.#options = options
  }

  async call(operation: Operation<unknown, never>, variables: object, options: CallOptions): Promise<unknown> {
    const retriesMax = operation.kind === 'query' ? (this.#options.retriesMax ?? 3) : 0
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#try(operation, variables, options)
      } catch (fault) {
        const retryable = fault instanceof SwitchyardError && isRetryable(fault)
        if (!retryable || attempt >= retriesMax) throw fault
        try {
          await wait(retryDelayMs(attempt), options.signal)
        } catch {
          throw fault
        }
      }
    }
  }

  async #try(operation: Operation<unknown, never>, variables: object, options: CallOptions): Promise<unknown> {
    const { url, token, fetch = globalThis.fetch } = this.#options
    const timeout = AbortSignal.timeout(options.timeoutMs ?? this.#options.timeoutMs ?? 30_000)
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout
    let response: Response
    let text: string
    try {
      response = await fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/graphql-response+json, application/json',
          authorization: `Bearer ${typeof token === 'string' ? token : await token()}`,
          'user-agent': 'switchyard-sdk',
        },
        body: JSON.stringify({ query: operation.text, operationName: operation.name, variables }),
        signal,
      })
      text = await response.text()
    } catch (cause) {
      if (options.signal?.aborted) throw new SwitchyardError('aborted', { code: 'ABORTED', cause })
      if (timeout.aborted) throw new SwitchyardError(`no answer from ${url} in time`, { code: 'TIMEOUT', cause })
      throw new SwitchyardError(`${url} cannot be reached: ${reasonOf(cause)}`, { code: 'UNREACHABLE', cause })
    }
    return readAnswer(url, response.status, text)
  }
}

function readAnswer(url: string, httpStatus: number, text: string): unknown {
  let answer: { data?: unknown; errors?: readonly GraphqlError[] }
  try {
    answer = JSON.parse(text)
    if (typeof answer !== 'object' || answer === null) throw new Error('no object')
  } catch (cause) {
    const code = retryableStatuses.has(httpStatus) ? 'UNAVAILABLE' : 'BAD_ANSWER'
    throw new SwitchyardError(`${url} answered ${httpStatus}, and not in GraphQL`, { code, httpStatus, cause })
  }
  const [error] = answer.errors ?? []
  if (error) throw errorOf(error, httpStatus)
  if (answer.data === undefined || answer.data === null)
    throw new SwitchyardError(`${url} answered ${httpStatus} without data`, { code: 'BAD_ANSWER', httpStatus })
  return answer.data
}

function errorOf({ message, extensions = {} }: GraphqlError, httpStatus: number): SwitchyardError {
  const { code, field, requestId, ...detail } = extensions
  return new SwitchyardError(message, {
    code: typeof code === 'string' ? code : 'BAD_ANSWER',
    field: typeof field === 'string' ? field : null,
    requestId: typeof requestId === 'string' ? requestId : null,
    httpStatus,
    detail,
  })
}

function isRetryable(error: SwitchyardError): boolean {
  return retryableCodes.has(error.code) || (error.httpStatus !== null && retryableStatuses.has(error.httpStatus))
}

/** The system's words: `fetch failed` says nothing. */
function reasonOf(fault: unknown): string {
  if (!(fault instanceof Error)) return String(fault)
  const cause = fault.cause as { code?: unknown; message?: unknown } | undefined
  return String(cause?.code ?? cause?.message ?? fault.message)
}
