import type { IncomingHttpHeaders } from 'node:http'

/**
 * What Apollo refuses because the page of any site can cause it, in words about forgery and without the request's id: in
 * practice the endpoint's address, typed into a browser. Apollo still judges everything else.
 */
export function isTypedAddress(request: { method: string; headers: IncomingHttpHeaders }): boolean {
  const { method, headers } = request
  return (
    method === 'GET' &&
    !headers['content-type'] &&
    !headers['apollo-require-preflight'] &&
    !headers['x-apollo-operation-name']
  )
}
