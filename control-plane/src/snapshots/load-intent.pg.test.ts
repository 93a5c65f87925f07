import { afterAll, beforeAll, expect, test } from 'vitest'
import { environmentSection } from '../../../proto/snapshot/consistency.js'
import { must } from '../../../proto/std/assert.js'
import { IntentRows } from '../../../test/harness/intent-rows.js'
import { type TestDatabase, testDatabase } from '../../../test/harness/postgres.js'
import { Database } from '../database/database.js'
import { compileEnvironment, decodedResource } from './compile-snapshot.js'
import { IntentReader } from './load-intent.js'

let testDb: TestDatabase
let database: Database
let rows: IntentRows

beforeAll(async () => {
  testDb = await testDatabase()
  database = new Database({ url: testDb.url, poolMax: 2, sqlPoolMax: 2 })
  rows = await IntentRows.make(database)
})
afterAll(async () => {
  await database?.close()
  await testDb?.drop()
})

/** Resources of the environment's section as an agent reads them, by kind. */
async function compiled() {
  const intents = await new IntentReader(database).loadEnvironments(({ id }) => id === rows.environmentId)
  const result = compileEnvironment(must(intents.get(rows.environmentId), 'the environment is in service'))
  if ('refusals' in result) throw new Error(result.refusals[0]?.message)
  const name = environmentSection(rows.tenantId, rows.environmentId)
  const resources = result.section.resources.map((resource) => decodedResource(name, resource).resource)
  return {
    provider: resources.find((resource) => resource.provider)?.provider,
    model: resources.find((resource) => resource.model)?.model,
    route: resources.find((resource) => resource.route)?.route,
  }
}

test('what a vendor needs reaches the agent, from rows to resources', async () => {
  const { providerId, modelId } = rows
  const routeId = await rows.addRoute('chat')
  // Left out: an address is all there is, prices are as they were, and settings are refused.
  const plain = await compiled()
  expect(plain.provider).toMatchObject({ apiVersion: '', vendorRegion: '', vendorProject: '', external: true })
  expect(plain.model).toMatchObject({ outputTokensMax: 0, price: { version: 1, inputNanoUsdPerMillion: 5 } })
  expect(plain.model?.price).not.toHaveProperty('cacheWriteInputNanoUsdPerMillion')
  expect(plain.route).toMatchObject({ unsupportedSettings: 'refuse' })

  await rows.change(async (tables) => {
    await tables.provider.update({
      where: { id: providerId },
      data: {
        ...{ kind: 'vertex', baseUrl: 'https://aiplatform.googleapis.com', external: false },
        ...{ apiVersion: 'v1', vendorRegion: 'global', vendorProject: 'acme-prod-1' },
        ...{ slaAvailabilityPpm: 999_000, slaNote: 'not for agents', vendorRequestsPerMinute: 7 },
      },
    })
    await tables.model.update({ where: { id: modelId }, data: { outputTokensMax: 64_000 } })
    await tables.modelPrice.create({
      data: {
        ...{ modelId, version: 2, inputNanoUsdPerMillion: 3_000_000_000n, outputNanoUsdPerMillion: 15_000_000_000n },
        ...{ cachedInputNanoUsdPerMillion: 300_000_000n, cacheWriteInputNanoUsdPerMillion: 0n },
      },
    })
    await tables.route.update({ where: { id: routeId }, data: { unsupportedSettings: 'drop' } })
  })
  const full = await compiled()
  expect(full.provider).toEqual({
    ...{ id: providerId, name: 'sim', kind: 'vertex', baseUrl: 'https://aiplatform.googleapis.com', region: 'eu' },
    ...{ credentialId: '', credentialVersion: 0, connectionsMax: 256, external: false },
    ...{ apiVersion: 'v1', vendorRegion: 'global', vendorProject: 'acme-prod-1' },
  })
  // Free is a price: it is not the same as none.
  expect(full.model).toMatchObject({
    outputTokensMax: 64_000,
    price: {
      ...{ version: 2, inputNanoUsdPerMillion: 3_000_000_000, outputNanoUsdPerMillion: 15_000_000_000 },
      ...{ cachedInputNanoUsdPerMillion: 300_000_000, cacheWriteInputNanoUsdPerMillion: 0 },
    },
  })
  expect(full.route).toMatchObject({ unsupportedSettings: 'drop' })
})
