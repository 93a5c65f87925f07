import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Door, makeTables, makeTarget, openDoor } from '../harness/agent-door.js'

/** `models` of both clients, through the agent's own door. */
let door: Door
let apiKey: string

beforeAll(async () => {
  const made = makeTables({
    routes: {
      chat: [makeTarget({ origin: 'http://x', outputTokensMax: 4_096 })],
      'team/embed': [makeTarget({ origin: 'http://x' })],
    },
  })
  apiKey = made.apiKey
  door = await openDoor({ tables: made.tables })
})
afterAll(() => door.stop())

describe('the openai client', () => {
  test('lists and finds models', async () => {
    const client = new OpenAI({ baseURL: `${door.url}/v1`, apiKey, maxRetries: 0 })
    const ids: string[] = []
    for await (const { id, object } of client.models.list()) ids.push(`${object} ${id}`)
    expect(ids).toEqual(['model chat', 'model team/embed'])
    expect((await client.models.retrieve('team/embed')).id).toBe('team/embed')
    await expect(client.models.retrieve('x')).rejects.toBeInstanceOf(OpenAI.NotFoundError)
  })
})

describe('the anthropic client', () => {
  test('lists and finds models', async () => {
    const client = new Anthropic({ baseURL: door.url, apiKey, maxRetries: 0 })
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
