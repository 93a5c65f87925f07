import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { buildProgram } from './program.js'
import { readCliSettings } from './settings.js'

let server: Server
let url: string
let asked: { operationName: string; variables: Record<string, unknown> }[]
let answers: Record<string, unknown>

beforeEach(async () => {
  asked = []
  answers = {
    viewer: { viewer: { subject: 'bootstrap', tenantId: null, roles: ['platform-admin'], permissions: [] } },
    tenants: list([{ id: 'ten_1', slug: 'acme', name: 'Acme' }], 'tenants'),
    environments: list([{ id: 'env_1', name: 'production', archivedAt: null }], 'environments'),
  }
  server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request as AsyncIterable<Buffer>) parts.push(part)
    const body = JSON.parse(Buffer.concat(parts).toString())
    asked.push(body)
    const data = answers[body.operationName]
    const refused = { errors: [{ message: 'no such key', extensions: { code: 'NOT_FOUND', field: 'apiKeyId' } }] }
    response.end(JSON.stringify(data === undefined ? refused : { data }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

afterEach(() => {
  server.closeAllConnections()
  server.close()
})

function list(nodes: readonly object[], name: string) {
  return { [name]: { edges: nodes.map((node) => ({ node })), pageInfo: { hasNextPage: false, endCursor: null } } }
}

async function run(...args: string[]): Promise<string> {
  let printed = ''
  const program = buildProgram(
    '0.0.0',
    (text) => {
      printed += text
    },
    () => Date.UTC(2026, 0, 2, 12, 30),
  )
  await program.parseAsync(['--url', url, '--token', 't', ...args], { from: 'user' })
  return printed
}

const key = {
  id: 'key_01hx00000000000000000000ab',
  name: 'ci',
  prefix: 'sk-sy-abc',
  environmentId: 'env_1',
  expiresAt: null,
  revokedAt: null,
}

test('status says who you are', async () => {
  expect(await run('status')).toMatch(/answers[\s\S]*bootstrap \(platform-admin\)/)
})

test('keys create asks for a key of the only environment and shows it once', async () => {
  answers['createApiKey'] = { createApiKey: { apiKey: key, secret: 'sk-sy-whole', intentRevision: '4' } }
  expect(await run('keys', 'create', 'ci', '--route', 'chat', '--internal-only', '--may-pin')).toContain('sk-sy-whole')
  expect(asked.at(-1)?.variables).toEqual({
    input: {
      environmentId: 'env_1',
      name: 'ci',
      teamId: null,
      allowedRoutes: ['chat'],
      internalOnly: true,
      mayPin: true,
      expiresAt: null,
    },
  })
})

test('keys list names the environment', async () => {
  answers['apiKeys'] = list([key], 'apiKeys')
  expect(await run('keys', 'list')).toMatch(/ci +sk-sy-abc +production/)
})

test('keys revoke finds a key by its name and can abort', async () => {
  answers['apiKeys'] = list([key, { ...key, id: 'key_old', revokedAt: '2026-01-01T00:00:00Z' }], 'apiKeys')
  answers['revokeApiKey'] = { revokeApiKey: { apiKey: key, intentRevision: '5' } }
  expect(await run('keys', 'revoke', 'ci', '--abort')).toBe(`revoked ${key.id} (ci)\n`)
  expect(asked.at(-1)?.variables).toEqual({ input: { apiKeyId: key.id, abort: true } })
})

test('a name that two keys have is refused with their ids', async () => {
  answers['apiKeys'] = list([key, { ...key, id: 'key_two' }], 'apiKeys')
  await expect(run('keys', 'rotate', 'ci')).rejects.toThrow(/2 keys are called ci: key_01hx.*key_two/)
})

test('usage prints the newest records, or JSON', async () => {
  const record = {
    timestamp: '2026-01-02T03:04:05.000Z',
    requestId: 'req_1',
    routeName: 'chat',
    model: 'simulator-small',
    tokensIn: 12,
    tokensOut: 34,
    costUsd: '0.000022200',
    latencyMs: 12.345,
    status: 'OK',
    code: null,
  }
  answers['usage'] = list([record], 'usage')
  expect(await run('usage', '--last', '5')).toMatch(/req_1 +chat +simulator-small +12 +34 +0\.000022200 +12\.3 +OK/)
  expect(asked.at(-1)?.variables).toMatchObject({ tenantId: 'ten_1', first: 5 })
  expect(JSON.parse(await run('--json', 'usage'))).toEqual([record])
})

test('usage of overridden requests says by which key, and what it decided itself', async () => {
  const record = {
    ...{ timestamp: '2026-01-02T03:04:05.000Z', requestId: 'req_1', routeName: 'chat', model: 'small', latencyMs: 1 },
    ...{ tokensIn: 1, tokensOut: 2, costUsd: null, status: 'OK', code: null, apiKeyId: 'key_1' },
    routingOverride: 'target=tgt_1 fallback=none',
  }
  answers['usage'] = list([record], 'usage')
  expect(await run('usage', '--overridden')).toMatch(/key +override\n[\s\S]*OK +key_1 +target=tgt_1 fallback=none\n/)
  expect(asked.at(-1)?.variables).toMatchObject({ filter: { routingOverridden: true } })
  expect(await run('usage')).not.toMatch(/override/)
  expect(asked.at(-1)?.variables).toMatchObject({ filter: { routingOverridden: null } })
})

test('usage without a record says so', async () => {
  answers['usage'] = list([], 'usage')
  expect(await run('usage', '--request', 'req_1')).toMatch(/^no records; /)
  expect(JSON.parse(await run('--json', 'usage'))).toEqual([])
})

test('usage by model sums whole buckets up to now', async () => {
  answers['usageTotals'] = { usageTotals: [] }
  await run('usage', '--by', 'model', '--since', '30m')
  expect(asked.at(-1)?.variables).toMatchObject({
    filter: { from: '2026-01-02T12:00:00.000Z', to: '2026-01-02T12:31:00.000Z' },
    granularity: 'MINUTE',
    groupBy: ['MODEL'],
    byBucket: false,
  })
})

test.each([
  [['usage', '--last', '0'], /expected 1 to 100/],
  [['usage', '--by', 'colour'], /expected one of environment, key/],
  [['usage', '--since', '7d'], /--since is for sums: say of what, for example --by model/],
  [['usage', '--by', 'model', '--request', 'req_1'], /--request is for records and --by is for sums/],
  [['usage', '--by', 'model', '--overridden'], /--overridden is for records and --by is for sums/],
  [['usage', '--by', 'model', '--since', 'forever'], /for example 30m, 24h, 7d/],
  [['--tenant', 'nobody', 'usage'], /no tenant nobody; there are: acme/],
  [['keys', 'create', 'ci', '--environment', 'moon'], /no environment moon; there are: production/],
])('%j is refused with what to do', async (args, words) => {
  await expect(run(...args)).rejects.toThrow(words)
})

test('a refusal of the control plane keeps its code and field', async () => {
  await expect(run('keys', 'revoke', key.id)).rejects.toMatchObject({ code: 'NOT_FOUND', field: 'apiKeyId' })
})

describe('where the control plane is', () => {
  const nowhere = path.parse(process.cwd()).root

  test('options, then the environment', () => {
    const environment = { SWITCHYARD_URL: 'https://switchyard.example.com', SWITCHYARD_TOKEN: 'secret' }
    expect(readCliSettings({}, environment, nowhere)).toMatchObject({
      url: 'https://switchyard.example.com/graphql',
      token: 'secret',
    })
    expect(readCliSettings({ url: 'http://other/api' }, environment, nowhere).url).toBe('http://other/api')
  })

  test('half of it is refused', () => {
    expect(() => readCliSettings({}, { SWITCHYARD_URL: 'https://x' }, nowhere)).toThrow(/SWITCHYARD_TOKEN/)
    expect(() => readCliSettings({ url: 'x', token: 't' }, {}, nowhere)).toThrow(/expected a URL/)
  })

  test('the local installation of a folder above', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'cli-'))
    try {
      mkdirSync(path.join(folder, '.switchyard'))
      mkdirSync(path.join(folder, 'deep', 'down'), { recursive: true })
      const facts = { graphqlUrl: 'http://127.0.0.1:7400/graphql', adminToken: 'sya_1', tenantId: 'ten_1' }
      writeFileSync(path.join(folder, '.switchyard', 'local.json'), JSON.stringify(facts))
      expect(readCliSettings({}, {}, path.join(folder, 'deep', 'down'))).toMatchObject({
        url: facts.graphqlUrl,
        token: 'sya_1',
        tenantId: 'ten_1',
      })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('nothing known says what to do', () => {
    expect(() => readCliSettings({}, {}, nowhere)).toThrow(/npm start/)
  })
})

describe('routes', () => {
  const explained = {
    ...{ outcome: 'chosen', routeName: 'chat', ruleName: 'law', strategy: 'ORDERED', sentences: ['first', 'second'] },
    targets: [
      { targetId: 'tgt_1', upstreamModel: 'large', providerName: 'openai-eu' },
      { targetId: 'tgt_2', upstreamModel: 'small', providerName: 'local' },
    ],
    excluded: [],
  }
  const suiteFile = (text: string) => {
    const file = path.join(mkdtempSync(path.join(tmpdir(), 'suite-')), 'routing.yaml')
    writeFileSync(file, text)
    return file
  }

  test('explain asks what is said, and prints the sentences', async () => {
    answers['explainRoute'] = { explainRoute: explained }
    const args = [
      '--prompt',
      'Why?',
      '--header',
      'x-a=b=c',
      '--complexity',
      '0.7',
      '--class',
      'code',
      '--open',
      'tgt_1',
    ]
    expect(await run('routes', 'explain', 'chat', ...args, '--operation', 'messages')).toBe('first\nsecond\n')
    expect(asked.at(-1)?.variables).toMatchObject({
      input: {
        ...{ environmentId: 'env_1', model: 'chat', prompt: 'Why?', headers: [{ name: 'x-a', value: 'b=c' }] },
        ...{ complexity: 0.7, promptClass: 'CODE', operation: 'MESSAGES', tokensIn: null },
        health: [{ targetId: 'tgt_1', state: 'OPEN' }],
      },
    })
    await expect(run('routes', 'explain', 'chat', '--complexity', 'much')).rejects.toThrow('expected a number')
    await expect(run('routes', 'explain', 'chat', '--prompt-file', '/nowhere')).rejects.toThrow(
      'cannot be read: ENOENT',
    )
  })

  test('test prints each decision, and fails when one is not as expected', async () => {
    answers['explainRoute'] = { explainRoute: explained }
    const good = suiteFile(
      'cases: [{ name: law, request: { model: chat }, expect: { rule: law, target: large@openai-eu } }]',
    )
    expect(await run('routes', 'test', good)).toMatch(/ok +law +law +large@openai-eu[\s\S]*1 passed, 0 failed/)
    const bad = suiteFile(
      `environment: production
cases:
  - name: law
    request: { model: chat, user: ada }
    expect: { rule: law }
  - request: { model: chat }
    expect: { rule: tiers, target: small, targets: [small, large] }`,
    )
    await expect(run('routes', 'test', bad)).rejects.toThrow('1 of 2 decisions are not as expected')
    expect(asked.filter(({ operationName }) => operationName === 'explainRoute')).toHaveLength(3)
  })

  test('test counts misroutes of labelled cases, and fails where there are too many', async () => {
    const [large, small] = explained.targets
    answers['explainRoute'] = { explainRoute: { ...explained, targets: [{ ...large, tier: 'HIGH' }, small] } }
    const suite = suiteFile(
      `cases:
  - { name: easy, request: { model: chat, prompt: hi }, label: LOW }
  - { name: hard, request: { model: chat, prompt: prove }, label: HIGH, expect: { rule: law } }
  - { name: other, request: { model: chat }, expect: { rule: law } }`,
    )
    const printed = await run('routes', 'test', suite)
    expect(printed).toMatch(/ok +easy +law +large@openai-eu +LOW +HIGH/)
    expect(printed).toContain('3 passed, 0 failed\n1 of 2 labelled cases are misrouted (50 %): 1 LOW→HIGH\n')
    expect(await run('routes', 'test', suite, '--misroute-max', '0.5')).toBe(printed)
    await expect(run('routes', 'test', suite, '--misroute-max', '0.49')).rejects.toThrow(
      '1 of 2 labelled cases are misrouted (50 %): 1 LOW→HIGH; at most 49 % may be',
    )
    expect(JSON.parse(await run('routes', 'test', suite, '--json'))).toMatchObject([
      { name: 'easy', label: 'LOW', tier: 'HIGH', misrouted: true, mismatches: [] },
      { name: 'hard', label: 'HIGH', tier: 'HIGH', misrouted: false },
      { name: 'other', label: null, misrouted: false },
    ])
  })

  describe('with a classifier', () => {
    let judge: Server
    let heard: { path: string; authorization: string; body: Record<string, unknown> }[]
    let says: (text: string) => [status: number, body: string]

    beforeEach(async () => {
      heard = []
      says = () => [200, '{"complexity":0.9,"class":"code","label":"v1"}']
      judge = createServer(async (request, response) => {
        const parts: Buffer[] = []
        for await (const part of request as AsyncIterable<Buffer>) parts.push(part)
        const body = JSON.parse(Buffer.concat(parts).toString()) as { text: string }
        heard.push({ path: request.url ?? '', authorization: request.headers.authorization ?? '', body })
        const [status, text] = says(body.text)
        response.writeHead(status).end(text)
      })
      await new Promise<void>((resolve) => judge.listen(0, '127.0.0.1', resolve))
      answers['explainRoute'] = { explainRoute: { ...explained, tokensIn: 7 } }
    })
    afterEach(() => {
      delete process.env['SWITCHYARD_CLASSIFIER_TOKEN']
      judge.closeAllConnections()
      judge.close()
    })
    const address = () => `http://127.0.0.1:${(judge.address() as AddressInfo).port}/v2/`
    const suite = () =>
      suiteFile(
        `cases:
  - { name: open, request: { model: chat, prompt: prove, turns: 3 }, label: HIGH }
  - { name: named, request: { model: chat, prompt: hi, headers: { X-Switchyard-Prompt-Class: chat } }, label: LOW }
  - { name: said, request: { model: chat, prompt: hi, complexity: 0.1, class: chat }, label: LOW }
  - { name: without, request: { model: chat }, label: LOW }`,
      )
    const supposed = () =>
      asked
        .filter(({ operationName }) => operationName === 'explainRoute')
        .map(({ variables }) => variables['input'] as Record<string, unknown>)
        .map(({ complexity, promptClass }) => [complexity, promptClass])

    test('test asks it about what cases leave open, and supposes what it says', async () => {
      process.env['SWITCHYARD_CLASSIFIER_TOKEN'] = 'sk-judge'
      const printed = await run('--json', 'routes', 'test', suite(), '--classifier', address())
      expect(heard).toEqual([
        {
          ...{ path: '/v2/classify', authorization: 'Bearer sk-judge' },
          body: { text: 'prove', turns: 3, tools: 0, images: 0, tokens: 7, model: 'chat' },
        },
        expect.objectContaining({ body: expect.objectContaining({ text: 'hi', turns: 1 }) }),
      ])
      expect(supposed()).toEqual([
        ...[
          [null, null],
          [0.9, 'CODE'],
        ],
        // The header is the client's own word.
        ...[
          [null, null],
          [0.9, null],
        ],
        ...[
          [0.1, 'CHAT'],
          [null, null],
        ],
      ])
      const results = JSON.parse(printed) as { classified: string | null }[]
      expect(results.map(({ classified }) => classified)).toEqual(['measured', 'measured', null, null])
    })

    test.each<[string, [number, string], string]>([
      ['refuses', [500, '{}'], 'HTTP 500'],
      ['redirects', [302, '{}'], 'HTTP 302'],
      ['says no JSON', [200, 'hard'], 'no JSON'],
      ['says a class of its own', [200, '{"class":"poetry"}'], 'a class that is none of ours'],
      ['says too much', [200, JSON.stringify({ complexity: 1, more: 'x'.repeat(20_000) })], 'more than 16384 bytes'],
    ])('test counts estimates, and says so, where it %s', async (_words, answer, reason) => {
      says = (text) => (text === 'hi' ? answer : [200, '{"complexity":0.9}'])
      expect(await run('routes', 'test', suite(), '--classifier', address())).toContain(
        `1 of 2 prompts were not measured by the classifier (${reason}): estimates count\n`,
      )
      expect(supposed()).toHaveLength(5)
      says = () => answer
      await expect(run('routes', 'test', suite(), '--classifier', address())).rejects.toThrow(
        `the classifier measured none of 2 prompts: ${reason}`,
      )
    })

    test('test refuses what is no address', async () => {
      await expect(run('routes', 'test', suite(), '--classifier', 'judge')).rejects.toThrow('expected a URL such as')
      expect(asked).toEqual([])
    })
  })

  test('test refuses a bound on misroutes that means nothing', async () => {
    const suite = suiteFile('cases: [{ request: { model: chat }, expect: { rule: law } }]')
    await expect(run('routes', 'test', suite, '--misroute-max', '0.1')).rejects.toThrow('no case has a label')
    await expect(run('routes', 'test', suite, '--misroute-max', '10')).rejects.toThrow('expected a number from 0 to 1')
    expect(asked).toEqual([])
  })

  const target = (id: string, providerId: string, modelId: string, upstreamModel: string | null = null) => ({
    ...{ id, providerId, modelId, upstreamModel },
  })
  const name = () => {
    const routes = [
      {
        ...{ id: 'rte_1', name: 'chat', defaultRouteId: 'rte_2' },
        targets: [target('tgt_1', 'prv_1', 'mdl_1'), target('tgt_2', 'prv_2', 'mdl_1', 'small')],
      },
      { id: 'rte_2', name: 'base', defaultRouteId: null, targets: [target('tgt_3', 'prv_1', 'mdl_1')] },
    ]
    answers['routes'] = list(routes, 'routes')
    answers['providers'] = list(
      [
        { id: 'prv_1', name: 'openai-eu' },
        { id: 'prv_2', name: 'local' },
      ],
      'providers',
    )
    answers['models'] = list([{ id: 'mdl_1', upstreamModel: 'large' }], 'models')
  }
  const healthAsked = () =>
    asked
      .filter(({ operationName }) => operationName === 'explainRoute')
      .map(({ variables }) => (variables['input'] as { health: { targetId: string }[] | null }).health)

  test('targets are called by name wherever one is: all that are called so are meant', async () => {
    name()
    answers['explainRoute'] = { explainRoute: { ...explained, excluded: [{ targetId: 'tgt_3' }] } }
    await run('routes', 'explain', 'chat', '--open', 'large@openai-eu', 'tgt_9', 'small')
    expect(healthAsked()[0]?.map(({ targetId }) => targetId)).toEqual(['tgt_1', 'tgt_3', 'tgt_9', 'tgt_2'])
    const suite = suiteFile(
      `cases:
  - name: one
    request: { model: chat, health: [{ target: small@local, state: half_open, inFlight: 2 }] }
    expect: { excluded: [large@openai-eu, large, tgt_3] }
  - name: two
    request: { model: base }
    expect: { excluded: [small] }`,
    )
    await expect(run('routes', 'test', suite)).rejects.toThrow('1 of 2 decisions are not as expected')
    expect(healthAsked().slice(1)).toEqual([
      [{ targetId: 'tgt_2', state: 'HALF_OPEN', latencyMs: null, inFlightCount: 2 }],
      null,
    ])
  })

  test('one that is no target of the route is refused, and nothing is explained', async () => {
    name()
    await expect(run('routes', 'explain', 'base', '--open', 'small')).rejects.toThrow(
      '--open: no target of the route base is called small; there are: large@openai-eu',
    )
    const suite = suiteFile(
      `cases:
  - request: { model: chat }
    expect: { rule: law }
  - name: away
    request: { model: chat, health: [{ target: lagre, state: open }] }
    expect: { rule: law }`,
    )
    await expect(run('routes', 'test', suite)).rejects.toThrow(
      'away: health: no target of the route chat is called lagre',
    )
    expect(healthAsked()).toEqual([])
  })

  test('a suite that is written wrong is refused before anything is asked', async () => {
    await expect(run('routes', 'test', suiteFile('cases: []'))).rejects.toThrow('expected at least one')
    expect(asked).toEqual([])
  })
})
