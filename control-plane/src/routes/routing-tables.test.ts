import { describe, expect, test } from 'vitest'
import { RefusalError } from '../../../proto/std/refusal.js'
import type { EnvironmentIntent } from '../snapshots/compile-snapshot.js'
import type { EnvironmentOfRoute } from './route-reader.js'
import { keptEnvironmentsMax, RoutingTables } from './routing-tables.js'

const seen = (id: string, intentRevision: bigint, active = true): EnvironmentOfRoute => ({
  ...{ id, tenantId: 'ten_1', name: 'production', permittedRegions: ['eu'], active, intentRevision },
})

/** Intent of environments without routes, as it is now. */
class FakeIntent {
  revision = 1
  loads: string[] = []
  broken = false

  async loadWithoutKeys(id: string): Promise<EnvironmentIntent | null> {
    this.loads.push(id)
    if (this.broken) throw new Error('the database is away')
    return {
      environment: {
        ...{ id, tenantId: 'ten_1', tenantName: 'acme', name: 'production', permittedRegions: ['eu'] },
        ...{ routingPreference: 'balanced', intentRevision: this.revision, archived: false },
      },
      ...{ routes: [], providers: [], models: [], apiKeys: [], cachePurges: [] },
    }
  }
}

describe('decision tables', () => {
  test('are made once for one revision, whoever asks meanwhile, and anew for the next', async () => {
    const intent = new FakeIntent()
    const tables = new RoutingTables(intent)
    const [one, two] = await Promise.all([tables.load(seen('env_1', 1n)), tables.load(seen('env_1', 1n))])
    expect(two).toBe(one)
    expect(await tables.load(seen('env_1', 1n))).toBe(one)
    expect(intent.loads).toEqual(['env_1'])
    intent.revision = 2
    const next = await tables.load(seen('env_1', 2n))
    expect([next.intentRevision, next.environment.environmentId]).toEqual([2n, 'env_1'])
    expect(intent.loads).toHaveLength(2)
  })

  test('of a revision that came while they were made are known by that one', async () => {
    const intent = new FakeIntent()
    const tables = new RoutingTables(intent)
    intent.revision = 5
    expect((await tables.load(seen('env_1', 4n))).intentRevision).toBe(5n)
    await tables.load(seen('env_1', 5n))
    expect(intent.loads).toHaveLength(1)
  })

  test('are kept of a few environments, the least recently asked for given up', async () => {
    const intent = new FakeIntent()
    const tables = new RoutingTables(intent)
    for (let index = 0; index < keptEnvironmentsMax; index++) await tables.load(seen(`env_${index}`, 1n))
    await tables.load(seen('env_0', 1n))
    await tables.load(seen('env_new', 1n))
    intent.loads = []
    await tables.load(seen('env_0', 1n))
    await tables.load(seen('env_2', 1n))
    expect(intent.loads).toEqual([])
    await tables.load(seen('env_1', 1n))
    expect(intent.loads).toEqual(['env_1'])
  })

  test('that could not be made are not kept; those of an archived environment are refused', async () => {
    const intent = new FakeIntent()
    const tables = new RoutingTables(intent)
    intent.broken = true
    await expect(tables.load(seen('env_1', 1n))).rejects.toThrow('away')
    intent.broken = false
    expect((await tables.load(seen('env_1', 1n))).intentRevision).toBe(1n)
    await expect(tables.load(seen('env_1', 1n, false))).rejects.toThrow(RefusalError)
  })
})
