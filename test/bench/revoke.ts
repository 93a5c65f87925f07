import { createHash, randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { Agent as Dispatcher, request } from 'undici'
import { apiKeyPrefix, makeApiKeyText } from '../../proto/policy/api-key-text.js'
import { systemClock } from '../../proto/std/clock.js'
import { newId } from '../../proto/std/ids.js'
import { eventually } from '../harness/process.js'
import { Stack } from '../harness/stack.js'

/**
 * How long a revoked key still works: from sending the mutation to the first refusal by the agent, over real gRPC and
 * mTLS, with many keys loaded. Beside it, in the same run, the mutation's own round trip, because a loaded machine slows both.
 */
const help = `Measures revocation, from mutation to refusal at the agent.

Usage: npm run bench:revoke -- [--keys 10000] [--revocations 1000]

Promise: p99 ≤ 1000 ms. Last line: one JSON object.`

const promisedP99Ms = 1_000
const { values } = parseArgs({
  options: {
    keys: { type: 'string', default: '10000' },
    revocations: { type: 'string', default: '1000' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(help)
  process.exit(0)
}
const keyCount = Number(values.keys)
const revocationCount = Math.min(Number(values.revocations), keyCount)

interface Key {
  id: string
  text: string
}

const stack = new Stack({ queue: 'postgres', seed: 1 })
const dispatcher = new Dispatcher({ connections: 32 })
try {
  await stack.start()
  console.log(`loading ${keyCount} keys`)
  const keys = await plantKeys(keyCount)
  await eventually('the last key works', async () => (await statusOf(keys[keys.length - 1] as Key)) === 200, 120_000)
  console.log(`revoking ${revocationCount} of them`)
  const measured: { mutationMs: number; refusedMs: number }[] = []
  let next = 0
  const revoker = async () => {
    for (let i = next++; i < revocationCount; i = next++) {
      measured.push(await measure(keys[i] as Key))
      if (measured.length % 100 === 0) console.log(`  ${measured.length}`)
    }
  }
  await Promise.all([revoker(), revoker()])
  const last = await measure(await makeOnlyKeyOfATenant())

  const refused = measured.map((m) => m.refusedMs).sort((a, b) => a - b)
  const mutation = measured.map((m) => m.mutationMs).sort((a, b) => a - b)
  const figures = {
    keys: keyCount,
    revocations: revocationCount,
    p50Ms: quantile(refused, 0.5),
    p99Ms: quantile(refused, 0.99),
    maxMs: refused[refused.length - 1] ?? 0,
    mutationP50Ms: quantile(mutation, 0.5),
    mutationP99Ms: quantile(mutation, 0.99),
    lastKeyOfTenantMs: last.refusedMs,
    promisedP99Ms,
    kept: quantile(refused, 0.99) <= promisedP99Ms,
  }
  console.table([
    {
      what: 'mutation to refusal',
      p50: figures.p50Ms,
      p99: figures.p99Ms,
      max: figures.maxMs,
      promised: `p99 ≤ ${promisedP99Ms}`,
    },
    { what: 'the mutation alone', p50: figures.mutationP50Ms, p99: figures.mutationP99Ms },
    { what: 'last key of the tenant', p50: figures.lastKeyOfTenantMs },
  ])
  console.log(JSON.stringify(figures))
  process.exitCode = figures.kept ? 0 : 1
} finally {
  await stack.stop()
  await dispatcher.destroy()
}

/** Keys written straight into the record (a thousand mutations a minute would only test patience), then one bump. */
async function plantKeys(count: number): Promise<Key[]> {
  const keys = Array.from({ length: count }, () => ({
    id: newId('apiKey', systemClock.nowMs()),
    text: makeApiKeyText('production', randomBytes(32).toString('base64url')),
  }))
  await stack.database.query(
    `INSERT INTO "ApiKey" (id, "tenantId", "environmentId", name, prefix, "secretHash", "allowedRoutes", "inFlightMax",
       "requestsPerMinuteMax", "createdBy")
     SELECT k.id, $2, $3, 'bench ' || k.id, k.prefix, decode(k.hash, 'hex'), '{}', 100, 100000, 'bench'
       FROM json_to_recordset($1::json) AS k(id text, prefix text, hash text)`,
    [
      JSON.stringify(
        keys.map((key) => ({
          id: key.id,
          prefix: apiKeyPrefix(key.text),
          hash: createHash('sha256').update(key.text).digest('hex'),
        })),
      ),
      stack.seed.tenantId,
      stack.seed.environmentId,
    ],
  )
  await stack.database.query(`UPDATE "Environment" SET "intentRevision" = "intentRevision" + 1 WHERE id = $1`, [
    stack.seed.environmentId,
  ])
  return keys
}

/** A tenant with a single key, made over the API and known to work. */
async function makeOnlyKeyOfATenant(): Promise<Key> {
  const { createTenant } = await stack.graphql<{ createTenant: { tenant: { id: string } } }>(
    `mutation ($input: CreateTenantInput!) { createTenant(input: $input) { tenant { id } } }`,
    { input: { slug: 'one-key', name: 'One key' } },
  )
  const { createEnvironment } = await stack.graphql<{ createEnvironment: { environment: { id: string } } }>(
    `mutation ($input: CreateEnvironmentInput!) { createEnvironment(input: $input) { environment { id } } }`,
    { input: { tenantId: createTenant.tenant.id, name: 'production', permittedRegions: ['local'] } },
  )
  const { createApiKey } = await stack.graphql<{ createApiKey: { apiKey: { id: string }; secret: string } }>(
    `mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey { id } secret } }`,
    { input: { environmentId: createEnvironment.environment.id, name: 'only' } },
  )
  const key = { id: createApiKey.apiKey.id, text: createApiKey.secret }
  await eventually('the only key of its tenant works', async () => (await statusOf(key)) === 200)
  return key
}

async function measure(key: Key): Promise<{ mutationMs: number; refusedMs: number }> {
  const startedUs = systemClock.monotonicUs()
  await stack.graphql(`mutation ($input: RevokeApiKeyInput!) { revokeApiKey(input: $input) { apiKey { id } } }`, {
    input: { apiKeyId: key.id },
  })
  const mutationMs = (systemClock.monotonicUs() - startedUs) / 1000
  while ((await statusOf(key)) !== 401) {
    const waitedMs = (systemClock.monotonicUs() - startedUs) / 1000
    if (waitedMs > 60_000) throw new Error(`${key.id} still works a minute after its revocation`)
    await systemClock.sleep(2)
  }
  return { mutationMs, refusedMs: (systemClock.monotonicUs() - startedUs) / 1000 }
}

async function statusOf(key: Key): Promise<number> {
  const response = await request(`${stack.agentUrl}/v1/models`, {
    dispatcher,
    headers: { authorization: `Bearer ${key.text}` },
  })
  await response.body.dump()
  return response.statusCode
}

function quantile(sorted: readonly number[], share: number): number {
  return Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0) * 10) / 10
}
