import { afterEach, beforeEach, expect, test } from 'vitest'
import { Simulator } from './simulator.js'
import { fetchUpstream } from './upstream.js'

let simulator: Simulator

beforeEach(async () => {
  simulator = new Simulator({ port: 0, apiKey: 'up-key' })
  await simulator.start()
})

afterEach(() => simulator.stop())

test('a server is asked for its models with its key, and the first one is used', async () => {
  const upstream = await fetchUpstream({
    upstream: `${simulator.url}/v1/`,
    model: null,
    environment: { UPSTREAM_API_KEY: 'up-key' },
  })
  expect(upstream).toMatchObject({
    providerName: 'upstream',
    kind: 'OPENAI_COMPATIBLE',
    baseUrl: `${simulator.url}/v1`,
    secret: 'up-key',
    models: [{ route: 'chat', name: 'simulator-small', capability: 'CHAT' }],
  })
})

test('a named model is not asked for', async () => {
  const upstream = await fetchUpstream({ upstream: 'http://127.0.0.1:1/v1', model: 'llama3.2', environment: {} })
  expect(upstream.models.map(({ name }) => name)).toEqual(['llama3.2'])
})

test('a server that refuses or is not there is one line with what to do', async () => {
  const choice = { model: null, environment: {} }
  await expect(fetchUpstream({ ...choice, upstream: `${simulator.url}/v1` })).rejects.toThrow(
    /does not list its models \(.*401\); start it, or name its model: npm start -- --upstream .* --model NAME$/,
  )
  await simulator.outage(60_000)
  await expect(fetchUpstream({ ...choice, upstream: `${simulator.url}/v1` })).rejects.toThrow(/ECONNREFUSED/)
})

test('openai takes the key of the environment and known models', async () => {
  const upstream = await fetchUpstream({ upstream: 'openai', model: null, environment: { OPENAI_API_KEY: 'sk-1' } })
  expect(upstream).toMatchObject({ kind: 'OPENAI', secret: 'sk-1', baseUrl: 'https://api.openai.com/v1' })
  expect(upstream.models.map(({ route }) => route)).toEqual(['chat', 'embed'])
})
