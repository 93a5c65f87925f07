import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ControlPlane } from '../../control-plane/src/control-plane.js'
import { loadSettings } from '../../control-plane/src/settings.js'
import { graphqlCall } from '../../deploy/local/graphql-call.js'
import { systemClock } from '../../proto/std/clock.js'
import { silentLog } from '../harness/agent-door.js'
import { type TestDatabase, testDatabase } from '../harness/postgres.js'
import { repositoryFolder } from '../harness/repository-folder.js'
import { makeTestFolder } from '../harness/test-folder.js'

/**
 * Routing as somebody keeps it in order: rules written over the API of a control plane that runs, and a suite of expected
 * decisions held against them by the command line, as in CI.
 */
let database: TestDatabase
let controlPlane: ControlPlane
const token = randomBytes(24).toString('base64url')
const folder = makeTestFolder()
let teamId = ''

beforeAll(async () => {
  database = await testDatabase()
  const door = ['HTTP', 'METRICS', 'FLEET', 'ENROL'].map((name) => [`SWITCHYARD_${name}_PORT`, '0'])
  controlPlane = new ControlPlane(
    loadSettings({
      ...{ DATABASE_URL: database.url, SWITCHYARD_ADMIN_TOKEN: token, ...Object.fromEntries(door) },
      SWITCHYARD_WRAP_KEYS: `test:${randomBytes(32).toString('base64')}`,
    }),
    { clock: systemClock, log: silentLog },
  )
  await controlPlane.start()
  teamId = await writeRules()
})
afterAll(async () => {
  await controlPlane?.stop()
  await database?.drop()
})

async function writeRules(): Promise<string> {
  const call = graphqlCall(`${controlPlane.addresses.http}/graphql`, token)
  const make = async (name: string, type: string, selection: string, input: object) =>
    (
      await call<Record<string, Record<string, { id: string }>>>(
        `mutation ($input: ${type}!) { ${name}(input: $input) { ${selection} { id } } }`,
        { input },
      )
    )[name]?.[selection]?.id ?? ''
  const tenantId = await make('createTenant', 'CreateTenantInput', 'tenant', { slug: 'acme', name: 'Acme' })
  const environmentId = await make('createEnvironment', 'CreateEnvironmentInput', 'environment', {
    ...{ tenantId, name: 'production', permittedRegions: ['eu'] },
  })
  const team = await make('createTeam', 'CreateTeamInput', 'team', { tenantId, name: 'Law' })
  const provider = (name: string, external: boolean) =>
    make('createProvider', 'CreateProviderInput', 'provider', {
      ...{ tenantId, name, kind: 'VLLM', baseUrl: 'http://vllm:8000/v1', region: 'eu', external },
    })
  const model = (name: string) =>
    make('createModel', 'CreateModelInput', 'model', { tenantId, name, capabilities: ['CHAT'] })
  const [local, outside] = [await provider('local', false), await provider('outside', true)]
  const [small, large] = [await model('small'), await model('large')]
  const base = await make('createRoute', 'CreateRouteInput', 'route', {
    ...{ environmentId, name: 'tiers' },
    rules: [
      {
        ...{ name: 'tiers', strategy: 'COMPLEXITY' },
        targets: [
          { providerId: local, modelId: small, tier: 'LOW' },
          { providerId: outside, modelId: large, tier: 'HIGH' },
        ],
      },
    ],
  })
  await make('createRoute', 'CreateRouteInput', 'route', {
    ...{ environmentId, name: 'chat', defaultRouteId: base },
    rules: [{ name: 'law', condition: `team == "${team}"`, targets: [{ providerId: outside, modelId: large }] }],
  })
  return team
}

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function switchyard(...args: string[]): Promise<Ended> {
  const main = path.join(repositoryFolder(), '.build', 'sdk', 'cli', 'main.js')
  const env = { ...process.env, SWITCHYARD_URL: controlPlane.addresses.http, SWITCHYARD_TOKEN: token }
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const said = { stdout: '', stderr: '' }
    child.stdout.on('data', (chunk: Buffer) => {
      said.stdout += chunk.toString()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      said.stderr += chunk.toString()
    })
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, ...said }))
  })
}

test('a suite passes, and one expectation that does not hold ends it with exit code 1', async () => {
  const suite = (expected: string) => `environment: production
cases:
  - name: override
    request: { model: chat, team: ${teamId}, complexity: 0 }
    expect: { rule: law, target: large@outside }
  - name: default, below the threshold
    request: { model: chat, prompt: Hi! }
    expect: { rule: tiers, targets: [small@local, large@outside] }
  - name: default, hard
    request: { model: chat, complexity: 0.7 }
    expect: { target: ${expected} }
  - name: an internal key stays inside
    request: { model: chat, complexity: 0.7, internalOnly: true }
    expect: { targets: [small@local] }
  - name: an override that leads outside is refused to it
    request: { model: chat, team: ${teamId}, internalOnly: true }
    expect: { refused: no_eligible_target }
`
  const good = path.join(folder, 'good.yaml')
  writeFileSync(good, suite('large@outside'))
  const passed = await switchyard('routes', 'test', good)
  expect(passed).toMatchObject({ code: 0, stderr: '' })
  expect(passed.stdout).toContain('5 passed, 0 failed')
  const bad = path.join(folder, 'bad.yaml')
  writeFileSync(bad, suite('small@local'))
  const failed = await switchyard('routes', 'test', bad)
  expect(failed.code).toBe(1)
  expect(failed.stdout).toContain('large@outside comes first, small@local was expected')
  expect(failed.stderr).toContain('1 of 5 decisions are not as expected')
})

test('an explanation is the same sentences for everybody', async () => {
  const { code, stdout } = await switchyard('routes', 'explain', 'chat', '--complexity', '0.7', '--open', 'tgt_none')
  expect(code).toBe(1)
  expect(stdout).toBe('')
  const told = await switchyard('routes', 'explain', 'chat', '--complexity', '0.7')
  expect(told.code).toBe(0)
  expect(told.stdout.split('\n').slice(0, 4)).toEqual([
    'route chat: rule tiers applies',
    `rule law: team == "${teamId}" does not hold (team = "")`,
    'rule tiers of the defaults has no condition',
    'strategy complexity: complexity 0.700 is high (below 0.3 low, below 0.7 medium, else high)',
  ])
})
