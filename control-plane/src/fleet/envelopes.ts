import type pg from 'pg'
import type { CredentialEnvelope } from '../../../proto/gen/switchyard/v1/CredentialEnvelope.js'
import { decodeResource } from '../../../proto/snapshot/consistency.js'
import { sealSecret } from '../../../proto/snapshot/seal.js'
import { randomSecret } from '../../../proto/std/ids.js'
import type { Log } from '../../../proto/std/service.js'
import type { KeyRing } from '../access/encryption.js'
import type { Database } from '../database/database.js'
import type { StoredSection, StoredSnapshot } from '../snapshots/snapshot.js'

/** A credential as a snapshot names it. */
export interface CredentialName {
  readonly credentialId: string
  readonly version: number
}

/**
 * Provider credentials on their way to one agent: opened with the key ring, sealed to the agent's own X25519 key in the
 * same breath, never logged, never in a snapshot. References pass through: the agent resolves them where it stands.
 */
export class Envelopes {
  readonly #sql: pg.Pool
  readonly #keyRing: KeyRing
  readonly #log: Log
  readonly #names = new WeakMap<StoredSection, readonly CredentialName[]>()

  constructor(options: { database: Pick<Database, 'sql'>; keyRing: KeyRing; log: Log }) {
    this.#sql = options.database.sql
    this.#keyRing = options.keyRing
    this.#log = options.log
  }

  /** Every credential that the snapshot's providers name, once each. */
  namesIn(snapshot: StoredSnapshot): readonly CredentialName[] {
    const names = new Map<string, CredentialName>()
    for (const section of snapshot.sections) {
      for (const name of this.#namesInSection(section)) names.set(`${name.credentialId}/${name.version}`, name)
    }
    return [...names.values()]
  }

  /**
   * Envelopes for the agent, for those of `names` that are there. One that is missing or does not open is logged and left
   * out: its target is unready at the agent, nothing more.
   */
  async seal(
    agent: { readonly agentId: string; readonly sealingPublicKey: Uint8Array },
    names: readonly CredentialName[],
  ): Promise<readonly CredentialEnvelope[]> {
    if (names.length === 0) return []
    const { rows } = await this.#sql.query<CredentialRow>(
      `SELECT c.id, c.version, c.ciphertext, c."wrapKeyId", c.reference
       FROM "Credential" c JOIN unnest($1::text[], $2::int[]) AS wanted(id, version)
         ON c.id = wanted.id AND c.version = wanted.version`,
      [names.map((name) => name.credentialId), names.map((name) => name.version)],
    )
    return rows.flatMap((row): CredentialEnvelope[] => {
      const { id: credentialId, version } = row
      if (row.reference !== null) return [{ credentialId, version, reference: row.reference }]
      try {
        return [{ credentialId, version, sealed: this.#sealed(row, agent) }]
      } catch (error) {
        this.#log.error({ err: error, credentialId, version }, 'a credential does not open; its targets stay unready')
        return []
      }
    })
  }

  #sealed(row: CredentialRow, agent: { agentId: string; sealingPublicKey: Uint8Array }): Buffer {
    const context = `credential/${row.id}/${row.version}`
    const secret = this.#keyRing.open(row.ciphertext ?? new Uint8Array(), row.wrapKeyId ?? '', context)
    try {
      return sealSecret({
        secret,
        recipientPublicKey: agent.sealingPublicKey,
        ephemeralPrivateKey: randomSecret(32),
        context: { agentId: agent.agentId, credentialId: row.id, version: row.version },
      })
    } finally {
      secret.fill(0)
    }
  }

  #namesInSection(section: StoredSection): readonly CredentialName[] {
    const known = this.#names.get(section)
    if (known !== undefined) return known
    const names = section.resources.flatMap(({ name, content }) => {
      if (!name.startsWith('provider/')) return []
      const resource = decodeResource(content, { section: section.name, resource: name })
      const provider = 'code' in resource ? null : resource.provider
      return provider?.credentialId
        ? [{ credentialId: provider.credentialId, version: provider.credentialVersion }]
        : []
    })
    this.#names.set(section, names)
    return names
  }
}

interface CredentialRow {
  readonly id: string
  readonly version: number
  readonly ciphertext: Uint8Array | null
  readonly wrapKeyId: string | null
  readonly reference: string | null
}
