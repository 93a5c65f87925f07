import type { Operation } from '../providers/provider-dialect.js'

/** Method and path to operation: a frozen table, no router. */
export type Place = Operation | 'healthz' | 'readyz'

interface PathTable {
  readonly GET?: Place
  readonly POST?: Place
}

const paths: ReadonlyMap<string, PathTable> = new Map(
  Object.entries({
    '/v1/chat/completions': Object.freeze({ POST: 'chat_completions' } as const),
    '/v1/completions': Object.freeze({ POST: 'completions' } as const),
    '/v1/responses': Object.freeze({ POST: 'responses' } as const),
    '/v1/messages': Object.freeze({ POST: 'messages' } as const),
    '/v1/messages/count_tokens': Object.freeze({ POST: 'count_tokens' } as const),
    '/v1/embeddings': Object.freeze({ POST: 'embeddings' } as const),
    '/v1/models': Object.freeze({ GET: 'models' } as const),
    '/healthz': Object.freeze({ GET: 'healthz' } as const),
    '/readyz': Object.freeze({ GET: 'readyz' } as const),
  }),
)
const modelPaths: PathTable = Object.freeze({ GET: 'models' })
const modelPrefix = '/v1/models/'

export interface Matched {
  readonly place: Place
  /** Decoded rest of the path of `/v1/models/{id}`; ids may contain slashes. */
  readonly parameter: string | null
}

/** The operation behind a request line, or why there is none. */
export function matchRoute(
  method: string,
  url: string,
): Matched | { readonly refused: 'unknown_url' } | { readonly refused: 'method_not_allowed'; readonly allow: string } {
  const query = url.indexOf('?')
  const path = query === -1 ? url : url.slice(0, query)
  let table = paths.get(path)
  let parameter: string | null = null
  if (table === undefined && path.startsWith(modelPrefix) && path.length > modelPrefix.length) {
    parameter = decode(path.slice(modelPrefix.length))
    if (parameter !== null) table = modelPaths
  }
  if (table === undefined) return { refused: 'unknown_url' }
  const place = method === 'GET' ? table.GET : method === 'POST' ? table.POST : undefined
  if (place === undefined) return { refused: 'method_not_allowed', allow: Object.keys(table).join(', ') }
  return { place, parameter }
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}
