import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { actorOf, type Intent, refusalOf, startIntent } from '../../../test/harness/intent.js'

let intent: Intent
beforeAll(async () => {
  intent = await startIntent()
})
afterAll(() => intent.drop())

let count = 0
function fields(more: object = {}) {
  return { tenantId: intent.tenant.tenantId, name: `model-${++count}`, capabilities: ['chat' as const], ...more }
}
const price = { inputUsdPerMillion: '0.15', outputUsdPerMillion: '0.60' }

describe('the registry', () => {
  test('keeps prices as whole nano-dollars and the upstream name as given or the own one', async () => {
    const { model, intentRevisions } = await intent.models.create(intent.tenant.admin, fields({ price }))
    expect(model).toMatchObject({ upstreamModel: model.name, capabilities: ['chat'] })
    expect(model).toMatchObject({ contextTokensMax: 0, outputTokensMax: 0 })
    expect(model.price).toMatchObject({
      ...{ version: 1, inputNanoUsdPerMillion: 150_000_000n, outputNanoUsdPerMillion: 600_000_000n },
      ...{ cachedInputNanoUsdPerMillion: 150_000_000n, cacheWriteInputNanoUsdPerMillion: null },
    })
    expect(intentRevisions.size).toBe(2)
  })

  test('adds a price version for another price only', async () => {
    const { model } = await intent.models.create(intent.tenant.admin, fields())
    expect(model.price).toBeNull()
    const set = (more: object) =>
      intent.models.setPrice(intent.tenant.admin, { modelId: model.id, price: { ...price, ...more } })
    expect((await set({})).model.price?.version).toBe(1)
    expect((await set({})).model.price?.version).toBe(1)
    const dearer = await set({ cachedInputUsdPerMillion: '0.000000001' })
    expect(dearer.model.price).toMatchObject({ version: 2, cachedInputNanoUsdPerMillion: 1n })
    const writing = { cachedInputUsdPerMillion: '0.000000001', cacheWriteInputUsdPerMillion: '0.1875' }
    expect((await set(writing)).model.price).toMatchObject({
      version: 3,
      cacheWriteInputNanoUsdPerMillion: 187_500_000n,
    })
    expect((await set(writing)).model.price?.version).toBe(3)
    expect(dearer.model.rowVersion).toBeGreaterThan(model.rowVersion)
    const [history] = await intent.models.pricesById.load(intent.tenant.admin, [model.id])
    expect(history?.map((entry) => entry.version)).toEqual([3, 2, 1])
    expect(history?.map((entry) => entry.cacheWriteInputNanoUsdPerMillion)).toEqual([187_500_000n, null, null])
  })

  test('knows how long an answer may be, changes it, and forgets it by 0', async () => {
    const { model } = await intent.models.create(intent.tenant.admin, fields({ outputTokensMax: 64_000 }))
    const change = async (more: object) =>
      (await intent.models.update(intent.tenant.admin, { modelId: model.id, ...more })).model.outputTokensMax
    expect(model.outputTokensMax).toBe(64_000)
    expect([await change({ contextTokensMax: 200_000 }), await change({ outputTokensMax: 8_192 })]).toEqual([
      64_000, 8_192,
    ])
    expect(await change({ outputTokensMax: 0 })).toBe(0)
    const entries = await intent.database.rows.auditEntry.findMany({ where: { subjectId: model.id } })
    expect(JSON.stringify(entries)).toContain('"outputTokensMax":64000')
  })

  test.each([
    [{ name: ' spaced name' }, 'input.name'],
    [{ capabilities: [] }, 'input.capabilities'],
    [{ capabilities: ['chat', 'telepathy'] }, 'input.capabilities[1]'],
    [{ contextTokensMax: -1 }, 'input.contextTokensMax'],
    [{ outputTokensMax: -1 }, 'input.outputTokensMax'],
    [{ price: { ...price, cacheWriteInputUsdPerMillion: '-1' } }, 'input.price.cacheWriteInputUsdPerMillion'],
    [{ price: { ...price, inputUsdPerMillion: '-1' } }, 'input.price.inputUsdPerMillion'],
    [{ price: { ...price, outputUsdPerMillion: '0.1234567891' } }, 'input.price.outputUsdPerMillion'],
    [{ price: { ...price, outputUsdPerMillion: '1e3' } }, 'input.price.outputUsdPerMillion'],
    [{ price: { ...price, outputUsdPerMillion: '10000.000000001' } }, 'input.price.outputUsdPerMillion'],
  ])('refuses %j by its field', async (wrong, field) => {
    const refusal = await refusalOf(() => intent.models.create(intent.tenant.admin, fields(wrong)))
    expect(refusal).toMatchObject({ code: 'bad_input', field })
  })

  test('archives for good, and shows only to its own tenant', async () => {
    const { model } = await intent.models.create(intent.tenant.admin, fields())
    const other = await intent.makeTenant()
    expect(await intent.models.find(other.admin, model.id)).toBeNull()
    expect(await refusalOf(() => intent.models.archive(other.admin, model.id))).toMatchObject({ code: 'not_found' })
    const developer = actorOf(intent.tenant.tenantId, 'developer')
    expect(await refusalOf(() => intent.models.archive(developer, model.id))).toMatchObject({ code: 'forbidden' })
    await intent.models.archive(intent.tenant.admin, model.id)
    expect(await refusalOf(() => intent.models.update(intent.tenant.admin, { modelId: model.id }))).toMatchObject({
      ...{ code: 'conflict', field: 'modelId' },
    })
  })
})
