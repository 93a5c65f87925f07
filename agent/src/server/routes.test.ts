import { describe, expect, test } from 'vitest'
import { matchRoute } from './routes.js'

describe('routes', () => {
  test.each([
    ['POST', '/v1/chat/completions', 'chat_completions', null],
    ['POST', '/v1/chat/completions?x=1', 'chat_completions', null],
    ['POST', '/v1/completions', 'completions', null],
    ['POST', '/v1/responses', 'responses', null],
    ['POST', '/v1/embeddings', 'embeddings', null],
    ['GET', '/v1/models', 'models', null],
    ['GET', '/v1/models/a', 'models', 'a'],
    ['GET', '/v1/models/org/a%20b', 'models', 'org/a b'],
    ['POST', '/v1/messages?beta=true', 'messages', null],
    ['POST', '/v1/messages/count_tokens', 'count_tokens', null],
    ['GET', '/healthz', 'healthz', null],
    ['GET', '/readyz', 'readyz', null],
  ])('%s %s', (method, url, place, parameter) => {
    expect(matchRoute(method, url)).toEqual({ place, parameter })
  })

  test.each([
    ['GET', '/', 'unknown_url'],
    ['GET', '/v1/models/', 'unknown_url'],
    ['GET', '/v1/models/%', 'unknown_url'],
    ['POST', '/v1/chat/completions/', 'unknown_url'],
    ['POST', '//v1/chat/completions', 'unknown_url'],
    ['POST', '/V1/chat/completions', 'unknown_url'],
    ['POST', '/v1/../v1/chat/completions', 'unknown_url'],
    ['GET', '/__proto__', 'unknown_url'],
    ['GET', 'http://elsewhere/v1/models', 'unknown_url'],
    ['GET', '/v1/chat/completions', 'method_not_allowed'],
    ['GET', '/v1/responses', 'method_not_allowed'],
    // What a provider keeps is not asked for: this door has no answers to give again.
    ['GET', '/v1/responses/resp_1', 'unknown_url'],
    ['POST', '/v1/responses/compact', 'unknown_url'],
    ['POST', '/v1/models/a', 'method_not_allowed'],
    ['OPTIONS', '/v1/models', 'method_not_allowed'],
  ])('not %s %s', (method, url, refused) => {
    expect(matchRoute(method, url)).toMatchObject({ refused })
  })
})
