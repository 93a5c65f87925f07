import { createHash } from 'node:crypto'
import { resourceCodec, snapshotHeaderCodec, snapshotUpdateCodec } from '../../../proto/gen/codec.js'
import type { Resource } from '../../../proto/gen/switchyard/v1/Resource.js'
import type { SnapshotUpdate__Output } from '../../../proto/gen/switchyard/v1/SnapshotUpdate.js'
import { environmentSection } from '../../../proto/snapshot/consistency.js'
import { compareNames, hashContent, hashRoot, hashSection } from '../../../proto/snapshot/hash.js'
import { type DesiredSnapshot, diffSnapshot, type Manifest } from '../../../proto/snapshot/manifest.js'
import { rawPublicKeyOf } from '../../../proto/snapshot/raw-keys.js'
import { signHeader } from '../../../proto/snapshot/sign.js'

/** Signed snapshots for tests, made the way a control plane makes them. */
export interface Draft {
  generation: number
  epoch?: number
  view?: string
  keyId?: string
  /** Section name → full name of resource → resource. */
  sections: Record<string, Record<string, Resource>>
  intentRevision?: Record<string, number>
  /** Section name → names gone. */
  removed?: Record<string, string[]>
  removedSections?: string[]
}

export const clusterId = 'clu_1'
export const view = `${clusterId}/stable`
export const keyId = 'sgn_1'
const signingKey = Buffer.alloc(32, 7)
export const signingKeys: ReadonlyMap<string, Uint8Array> = new Map([[keyId, rawPublicKeyOf('ed25519', signingKey)]])
export const trust = { clusterId, signingKeys, storedSigningKeys: signingKeys }

export function sign(draft: Draft): DesiredSnapshot {
  const sections = Object.entries(draft.sections)
    .map(([name, resources]) => {
      const entries = Object.entries(resources)
        .map(([resourceName, resource]) => {
          const content = Buffer.from(resourceCodec.encode(resource))
          return { name: resourceName, hash: hashContent(content), content }
        })
        .sort((a, b) => compareNames(a.name, b.name))
      const facts = {
        name,
        intentRevision: draft.intentRevision?.[name] ?? draft.generation,
        resources: entries,
        removed: [...(draft.removed?.[name] ?? [])].sort(),
      }
      return { ...facts, hash: hashSection(facts) }
    })
    .sort((a, b) => compareNames(a.name, b.name))
  const removedSections = [...(draft.removedSections ?? [])].sort()
  const header = snapshotHeaderCodec.encode({
    epoch: draft.epoch ?? 1,
    view: draft.view ?? view,
    generation: draft.generation,
    rootHash: hashRoot({ sections, removedSections }),
    keyId: draft.keyId ?? keyId,
  })
  return { header, signature: signHeader(header, signingKey), sections, removedSections }
}

/** The update as it comes out of the wire. `held` null: everything. */
export function updateTo(desired: DesiredSnapshot, held: Manifest | null, resync = false): SnapshotUpdate__Output {
  const base =
    held === null
      ? null
      : { rootHash: held.rootHash, sections: new Map(held.sections.map((section) => [section.name, section])) }
  return snapshotUpdateCodec.decode(snapshotUpdateCodec.encode(diffSnapshot(desired, base, { resync })))
}

export const section = environmentSection('ten_1', 'env_1')
export const otherSection = environmentSection('ten_2', 'env_2')

export const sha256 = (text: string) => createHash('sha256').update(text).digest()
/** What a request looks a key up by. */
export const lookup = (text: string) => sha256(text).toString('hex')

export const apiKey = (id: string, over: Partial<NonNullable<Resource['apiKey']>> = {}): Resource => ({
  apiKey: { id, secretHash: sha256(id), inFlightMax: 8, requestsPerMinuteMax: 600, ...over },
})
export const deny = (id: string, abort = false): Resource => ({
  deny: { subjectKind: 'api_key', subjectId: id, secretHash: sha256(id), abort },
})

export const cluster: Record<string, Resource> = {
  [`cluster/${clusterId}`]: { cluster: { id: clusterId, name: 'local', region: 'eu', cloud: 'none' } },
}

/** An environment with one provider, one model, one route, and keys `key_<n>`. */
export function environment(
  keyIds: readonly string[] = ['key_1'],
  over: { environmentId?: string; tenantId?: string; upstreamModel?: string } = {},
): Record<string, Resource> {
  const { environmentId = 'env_1', tenantId = 'ten_1', upstreamModel = 'gpt' } = over
  return {
    [`environment/${environmentId}`]: {
      environment: { tenantId, environmentId, environmentName: 'production', permittedRegions: ['eu'] },
    },
    'provider/prv_1': {
      provider: {
        id: 'prv_1',
        name: 'p',
        kind: 'openai',
        baseUrl: 'https://h.example/v1',
        region: 'eu',
        credentialId: 'crd_1',
        credentialVersion: 1,
      },
    },
    'model/mdl_1': { model: { id: 'mdl_1', name: 'm', upstreamModel, capabilities: ['chat'] } },
    'route/rte_1': {
      route: {
        id: 'rte_1',
        name: 'fast',
        totalTimeoutMs: 60_000,
        rules: [
          {
            id: 'rul_1',
            targets: [
              {
                id: 'tgt_1',
                providerId: 'prv_1',
                modelId: 'mdl_1',
                deadlines: { connectMs: 1_000, firstTokenMs: 9_000, idleMs: 9_000, totalMs: 60_000 },
              },
            ],
          },
        ],
      },
    },
    ...Object.fromEntries(keyIds.map((id) => [`api_key/${id}`, apiKey(id)])),
  }
}

/** A snapshot with everything: cluster, one environment, denials. */
export function draft(over: Partial<Draft> & { keys?: readonly string[]; denied?: readonly string[] } = {}): Draft {
  const { keys = ['key_1', 'key_2'], denied = [], ...rest } = over
  return {
    generation: 1,
    sections: {
      cluster,
      deny: Object.fromEntries(denied.map((id) => [`deny/${id}`, deny(id)])),
      [section]: environment(keys),
    },
    ...rest,
  }
}
