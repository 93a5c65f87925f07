import { createHash } from 'node:crypto'
import { cluster, clusterId, environment, sign } from '../../agent/src/config/snapshot-fixture.js'
import type { Resource } from '../../proto/gen/switchyard/v1/Resource.js'
import { environmentSection } from '../../proto/snapshot/consistency.js'
import { MemoryPlane } from '../harness/memory-plane.js'
import { serveChild } from './agent-child.js'
import { apiKeyOf } from './agent-keys.js'

/**
 * The control plane of an agent that is benched as a process: `tenantCount` tenants with an environment each, `keyCount`
 * keys and `routeCount` routes spread over them evenly. A route has two rules, one with a condition and one target, one without
 * and two, all of one provider per tenant, which is `upstream`; the first route of each is called `chat`. Keys are those of `apiKeyOf`.
 */
const [, , upstream = '', tenantCount = '1', keyCount = '1', routeCount = '1'] = process.argv

const price = {
  ...{ version: 1, inputNanoUsdPerMillion: 1_000_000_000, cachedInputNanoUsdPerMillion: 500_000_000 },
  outputNanoUsdPerMillion: 2_000_000_000,
}
const keysEach = Number(keyCount) / Number(tenantCount)
const routesEach = Number(routeCount) / Number(tenantCount)
const plane = await MemoryPlane.start({ keepsRecords: false })
const sections: Record<string, Record<string, Resource>> = {
  cluster: {
    [`cluster/${clusterId}`]: { cluster: { ...cluster[`cluster/${clusterId}`]?.cluster, spanSamplePpm: 10_000 } },
  },
  deny: {},
}
for (let tenant = 0; tenant < Number(tenantCount); tenant++) {
  sections[environmentSection(`ten_${tenant}`, `env_${tenant}`)] = tenantResources(tenant)
  plane.addSecret(`crd_${tenant}`, 1, `sk-bench-${tenant}-0123456789`)
}
plane.publish(sign({ generation: 1, sections }))
serveChild({ url: JSON.stringify(plane.environment), apiKey: apiKeyOf(0, 0) }, () => ({
  records: plane.recordCount,
  contradictions: plane.contradictions.length,
}))

function tenantResources(tenant: number): Record<string, Resource> {
  const made = environment([], { tenantId: `ten_${tenant}`, environmentId: `env_${tenant}` })
  const resources: Record<string, Resource> = {}
  for (const [name, resource] of Object.entries(made)) if (resource.environment) resources[name] = resource
  const providerId = `prv_${tenant}`
  resources[`provider/${providerId}`] = {
    provider: {
      ...{
        id: providerId,
        name: 'bench',
        kind: 'openai',
        baseUrl: `${upstream}/v1`,
        region: 'eu',
        connectionsMax: 256,
      },
      ...{ credentialId: `crd_${tenant}`, credentialVersion: 1 },
    },
  }
  const modelId = `mdl_${tenant}`
  resources[`model/${modelId}`] = {
    model: { id: modelId, name: 'bench', upstreamModel: 'bench-model', capabilities: ['chat'], price },
  }
  const deadlines = { connectMs: 2_000, firstTokenMs: 30_000, idleMs: 30_000, totalMs: 120_000 }
  for (let route = 0; route < routesEach; route++) {
    const id = `rte_${tenant}_${route}`
    const targets = (rule: number, indexes: readonly number[]) =>
      indexes.map((target) => ({ id: `tgt_${tenant}_${route}_${rule}_${target}`, providerId, modelId, deadlines }))
    resources[`route/${id}`] = {
      route: {
        ...{ id, name: route === 0 ? 'chat' : `route-${route}`, totalTimeoutMs: 120_000 },
        rules: [
          {
            id: `rul_${tenant}_${route}_0`,
            condition: '"x-tier" in headers && headers["x-tier"] == "best"',
            targets: targets(0, [0]),
          },
          { id: `rul_${tenant}_${route}_1`, targets: targets(1, [1, 2]) },
        ],
      },
    }
  }
  for (let key = 0; key < keysEach; key++) {
    const id = `key_${tenant}_${key}`
    resources[`api_key/${id}`] = {
      apiKey: {
        ...{ id, secretHash: createHash('sha256').update(apiKeyOf(tenant, key)).digest() },
        ...{ inFlightMax: 100_000, requestsPerMinuteMax: 100_000_000 },
      },
    }
  }
  return resources
}
