import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { anthropicModelsDoor, type ModelsDoor, modelsDoor } from '../../agent/src/doors/models/door.js'
import { refuse } from '../../proto/std/refusal.js'
import { makeTables, makeTarget } from '../harness/agent-door.js'

/** `models` of both clients: what the doors write, read by the clients themselves. */
const { tables } = makeTables({
  routes: {
    chat: [makeTarget({ origin: 'http://x', outputTokensMax: 4_096 })],
    'team/embed': [makeTarget({ origin: 'http://x' })],
  },
})
const routes = [...([...tables.environments.values()][0]?.routes.values() ?? [])]
const unknown = refuse('model_not_found', 'The model `x` does not exist.', { field: 'model' })

/** Answers as the agent does with `door`. */
function answering({ models, errorBody }: ModelsDoor) {
  return async (url: string | URL | Request): Promise<Response> => {
    const name = /\/v1\/models\/([^?]+)/.exec(String(url))?.[1]
    const route = routes.find((one) => one.name === decodeURIComponent(name ?? ''))
    const status = name === undefined || route !== undefined ? 200 : 404
    const body = name === undefined ? models.list(routes) : route ? models.one(route) : errorBody(unknown, 404)
    return new Response(body, { status, headers: { 'content-type': 'application/json' } })
  }
}

describe('the openai client', () => {
  const client = new OpenAI({ baseURL: 'http://x/v1', apiKey: 'k', maxRetries: 0, fetch: answering(modelsDoor) })

  test('lists and finds models', async () => {
    const ids: string[] = []
    for await (const { id, object } of client.models.list()) ids.push(`${object} ${id}`)
    expect(ids).toEqual(['model chat', 'model team/embed'])
    expect((await client.models.retrieve('team/embed')).id).toBe('team/embed')
    await expect(client.models.retrieve('x')).rejects.toBeInstanceOf(OpenAI.NotFoundError)
  })
})

describe('the anthropic client', () => {
  const client = new Anthropic({
    ...{ baseURL: 'http://x', apiKey: 'k', maxRetries: 0, fetch: answering(anthropicModelsDoor) },
  })

  test('lists and finds models', async () => {
    const page = await client.models.list({ limit: 1 })
    expect(page.hasNextPage()).toBe(false)
    const found: [string, number | null][] = []
    for await (const { id, max_tokens: most } of client.models.list()) found.push([id, most])
    expect(found).toEqual([
      ['chat', 4_096],
      ['team/embed', null],
    ])
    expect(await client.models.retrieve('team/embed')).toMatchObject({ type: 'model', display_name: 'team/embed' })
    const fault = await client.models.retrieve('x').catch((error: unknown) => error)
    expect(fault).toBeInstanceOf(Anthropic.NotFoundError)
    expect((fault as InstanceType<typeof Anthropic.NotFoundError>).error).toMatchObject({
      ...{ type: 'error', error: { type: 'not_found_error', code: 'model_not_found' } },
    })
  })
})
