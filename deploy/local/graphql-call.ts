/** One call of the control plane's GraphQL API; throws with the server's words when it refuses. */
export type GraphqlCall = <T>(query: string, variables?: Readonly<Record<string, unknown>>) => Promise<T>

interface GraphqlAnswer<T> {
  data?: T | null
  errors?: readonly { message: string; extensions?: { code?: string; field?: string } }[]
}

export class GraphqlRefusal extends Error {
  override readonly name = 'GraphqlRefusal'
  constructor(
    message: string,
    readonly code: string,
  ) {
    super(message)
  }
}

export function graphqlCall(url: string, token: string): GraphqlCall {
  return async <T>(query: string, variables: Readonly<Record<string, unknown>> = {}): Promise<T> => {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify({ query, variables }),
      signal: AbortSignal.timeout(30_000),
    })
    const answer = (await response.json()) as GraphqlAnswer<T>
    const [error] = answer.errors ?? []
    if (error) {
      const field = error.extensions?.field ? ` (${error.extensions.field})` : ''
      throw new GraphqlRefusal(`${error.message}${field}`, error.extensions?.code ?? 'UNKNOWN')
    }
    if (!answer.data) throw new GraphqlRefusal(`HTTP ${response.status} without data`, 'UNKNOWN')
    return answer.data
  }
}
