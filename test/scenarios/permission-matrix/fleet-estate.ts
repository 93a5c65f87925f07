import { randomBytes } from 'node:crypto'
import type { Database } from '../../../control-plane/src/database/database.js'
import { viewOf } from '../../../control-plane/src/snapshots/snapshot.js'
import { environmentSection } from '../../../proto/snapshot/consistency.js'
import { newId } from '../../../proto/std/ids.js'
import type { Estate } from './estate.js'

/** What belongs to the installation: a cluster with an agent that has said everything about itself, and a quarantine. */
export class FleetEstate {
  readonly ids = new Set<string>()
  readonly agentVersion = 'planted-version'
  clusterId = ''
  agentId = ''
  view = ''
  readonly #database: Database
  readonly #owner: Estate
  readonly #rootHash = new Uint8Array(randomBytes(32))
  #count = 0

  private constructor(database: Database, owner: Estate) {
    this.#database = database
    this.#owner = owner
  }

  /** Serves the owner's environments, and has what keeps one of them back. */
  static async plant(database: Database, owner: Estate): Promise<FleetEstate> {
    const estate = new FleetEstate(database, owner)
    estate.clusterId = await estate.#cluster()
    await estate.#cluster()
    await estate.#snapshot()
    estate.agentId = await estate.agent({ revokedAt: new Date(Date.UTC(2026, 0, 3)) })
    await estate.agent()
    return estate
  }

  name(): string {
    return `planted-${++this.#count}`
  }

  async agent(more: { revokedAt?: Date } = {}): Promise<string> {
    const id = this.#keep(newId('agent', Date.now() + ++this.#count))
    await this.#database.rows.agent.create({
      data: {
        ...{ id, clusterId: this.clusterId, name: this.name(), sealingPublicKey: new Uint8Array(32), ...more },
        status: {
          create: {
            ...{ desiredView: this.view, appliedEpoch: 1n, appliedGeneration: 7n, appliedRootHash: this.#rootHash },
            ...{
              appliedAt: new Date(),
              attemptedGeneration: 7n,
              attemptedRootHash: this.#rootHash,
              attemptedAt: new Date(),
            },
            ...{ attemptOutcome: 'refused', attemptRefusals: refusals, version: this.agentVersion, bootEpoch: 3n },
            ...{ connected: true, lastSeenAt: new Date(), spoolBytes: 5n, spoolBytesMax: 6n, spoolRecordCount: 7n },
            ...{ inFlightCount: 8, certificateNotAfter: new Date(), snapshotBytesMax: 9n, resourcesMax: 10 },
            targets: [{ providerId: this.#owner.providerId, ready: true, reason: 'ok' }],
          },
        },
      },
    })
    return id
  }

  /** As a lifted one has every field; the answer is its key. */
  async quarantine(more: { liftedAt?: Date; liftedBy?: string } = {}): Promise<{ view: string; rootHash: string }> {
    const rootHash = randomBytes(32)
    const { agentVersion, view } = this
    await this.#database.rows.quarantine.create({
      data: { agentVersion, view, rootHash: new Uint8Array(rootHash), refusals, ...more },
    })
    return { view, rootHash: rootHash.toString('hex') }
  }

  async signingKey(): Promise<string> {
    const id = `planted-key-${++this.#count}`
    const bytes = new Uint8Array(32)
    // Older than the real one, so that it never signs.
    await this.#database.rows.signingKey.create({
      data: { id, publicKey: bytes, privateKey: bytes, wrapKeyId: 'none', createdAt: new Date(0) },
    })
    return id
  }

  /**
   * The newest of the cluster, which its agents have applied. The owner's section cannot follow (its routes use an archived
   * provider), so the reconciler, which runs, keeps what is planted here and says why.
   */
  async #snapshot(): Promise<void> {
    this.view = viewOf(this.clusterId)
    const { tenantId, environmentId } = this.#owner
    const sectionName = environmentSection(tenantId, environmentId)
    const hash = randomBytes(32)
    await this.#database.rows.snapshotSection.create({
      data: { hash: new Uint8Array(hash), name: sectionName, intentRevision: 77n, resources: [], removed: [] },
    })
    await this.#database.rows.snapshot.create({
      data: {
        ...{ view: this.view, epoch: 1n, generation: 7n, rootHash: this.#rootHash, removedSections: [] },
        ...{ header: new Uint8Array(), signature: new Uint8Array() },
        sections: [{ name: sectionName, hash: hash.toString('hex') }],
      },
    })
    // Rows were planted behind the services' backs: without this the reconciler would not look at them again.
    await this.#database.rows.environment.update({
      where: { id: environmentId },
      data: { intentRevision: { increment: 1 } },
    })
    await this.#database.rows.sectionFailure.create({
      data: {
        ...{ view: this.view, sectionName, tenantId, environmentId, intentRevision: 78n },
        ...{ code: 'planted_code', path: 'planted-path', message: 'planted message' },
      },
    })
  }

  async #cluster(): Promise<string> {
    const id = this.#keep(newId('cluster', Date.now() + ++this.#count))
    await this.#database.rows.cluster.create({
      data: { id, name: this.name(), kind: 'egress', cloud: 'planted-cloud', region: this.#owner.mark },
    })
    return id
  }

  #keep(id: string): string {
    this.ids.add(id)
    return id
  }
}

const refusals = [
  {
    ...{ code: 'planted_code', section: 'planted-section', resource: 'planted-resource', path: 'planted-path' },
    ...{ message: 'planted message', retryable: true },
  },
]
