import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Resource } from '../../../proto/gen/switchyard/v1/Resource.js'
import type { SnapshotUpdate__Output } from '../../../proto/gen/switchyard/v1/SnapshotUpdate.js'
import { must } from '../../../proto/std/assert.js'
import { startApplier, temporaryFolder } from './config-fixture.js'
import { cluster, type Draft, deny, environment, lookup, section, sign, updateTo } from './snapshot-fixture.js'

/**
 * Any history of generations, good, broken and careless, delivered as differences, in full, twice, late or torn by restarts:
 * the agent always is where a model of three lines says.
 */
const keyIds = ['key_a', 'key_b', 'key_c', 'key_d']
const subset = fc.subarray(keyIds)
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('publish' as const),
      keys: subset,
      denied: subset,
      /** The environment's section does not make sense. */
      broken: fc.boolean(),
      /** Names that go are declared removed. */
      declared: fc.boolean(),
      delivery: fc.constantFrom('difference' as const, 'full' as const),
      generations: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('replay' as const), which: fc.nat(20) }) },
)

it('any history leads where it should', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 14 }), async (steps) => {
      const folder = await temporaryFolder()
      try {
        let agent = await startApplier(folder.path)
        const sent: SnapshotUpdate__Output[] = []
        let generation = 0
        // The model: keys of the last environment that was usable, denials of the last generation.
        let [known, denied]: [readonly string[], readonly string[]] = [[], []]
        let everDenied = new Set<string>()
        for (const one of steps) {
          if (one.kind === 'restart') {
            await agent.close()
            agent = await startApplier(folder.path)
          } else if (one.kind === 'replay') {
            const update = sent[one.which % Math.max(1, sent.length)]
            if (update) await agent.applier.apply(update)
          } else {
            generation += one.generations
            everDenied = new Set([...everDenied, ...one.denied])
            const gone = keyIds.filter((id) => !one.keys.includes(id))
            const wanted = draftOf(generation, {
              ...one,
              removedKeys: one.declared ? gone : [],
              removedDenials: [...everDenied].filter((id) => !one.denied.includes(id)),
            })
            const updates = [...(one.delivery === 'full' ? [] : [agent.applier.held]), null].map((held) =>
              updateTo(sign(wanted), held),
            )
            sent.push(...updates)
            let answer = await agent.applier.apply(must(updates[0], 'at least one'))
            // A careless difference leads nowhere: the agent asks for everything, and gets it.
            if (answer.resync) answer = await agent.applier.apply(must(updates.at(-1), 'the full one'))
            const { ack } = answer
            const careless = !one.declared && known.some((id) => !one.keys.includes(id))
            const usable = !one.broken && !careless
            expect(ack?.outcome).toBe(usable ? 'APPLIED' : 'PARTIAL')
            if (usable) known = one.keys
            denied = one.denied
          }
          const tables = agent.tables.current
          expect(tables?.generation ?? 0).toBe(generation)
          expect(keyIds.filter((id) => tables?.keys.get(lookup(id)))).toEqual(keyIds.filter((id) => known.includes(id)))
          expect(keyIds.filter((id) => tables?.denied.get(lookup(id)))).toEqual(
            keyIds.filter((id) => denied.includes(id)),
          )
        }
        await agent.close()
      } finally {
        await folder.remove()
      }
    }),
    { seed: 11, numRuns: 40 },
  )
}, 60_000)

function draftOf(
  generation: number,
  wanted: {
    keys: readonly string[]
    denied: readonly string[]
    broken: boolean
    removedKeys: readonly string[]
    removedDenials: readonly string[]
  },
): Draft {
  const content: Record<string, Resource> = environment(wanted.keys)
  const route = content['route/rte_1']?.route
  if (wanted.broken && route) content['route/rte_1'] = { route: { ...route, rules: [] } }
  return {
    generation,
    sections: {
      cluster,
      deny: Object.fromEntries(wanted.denied.map((id) => [`deny/${id}`, deny(id)])),
      [section]: content,
    },
    removed: {
      [section]: wanted.removedKeys.map((id) => `api_key/${id}`),
      deny: wanted.removedDenials.map((id) => `deny/${id}`),
    },
  }
}
