import { randomBytes } from 'node:crypto'
import type { Database } from '../../../control-plane/src/database/database.js'
import { newId } from '../../../proto/std/ids.js'

/** What belongs to the installation: a cluster with an agent that has said everything about itself, and a quarantine. */
export class FleetEstate {
  readonly ids = new Set<string>()
  readonly agentVersion = 'planted-version'
  clusterId = ''
  agentId = ''
  view = ''
  readonly #database: Database
  readonly #providerId: string
  #count = 0

  private constructor(database: Database, providerId: string) {
    this.#database = database
    this.#providerId = providerId
  }

  /** `providerId`: what its agents are ready to use. */
  static async plant(database: Database, providerId: string): Promise<FleetEstate> {
    const estate = new FleetEstate(database, providerId)
    estate.clusterId = await estate.#cluster()
    await estate.#cluster()
    estate.agentId = await estate.agent({ revokedAt: new Date(Date.UTC(2026, 0, 3)) })
    await estate.agent()
    return estate
  }

  name(): string {
    return `planted-${++this.#count}`
  }

  async agent(more: { revokedAt?: Date } = {}): Promise<string> {
    const id = this.#keep(newId('agent', Date.now() + ++this.#count))
    const view = `${this.clusterId}/main`
    this.view = view
    const rootHash = new Uint8Array(randomBytes(32))
    await this.#database.rows.snapshot.upsert({
      where: { view_epoch_generation: { view, epoch: 1n, generation: 7n } },
      create: {
        ...{ view, epoch: 1n, generation: 7n, rootHash, header: new Uint8Array(), signature: new Uint8Array() },
        ...{ sections: [], removedSections: [] },
      },
      update: {},
    })
    await this.#database.rows.agent.create({
      data: {
        ...{ id, clusterId: this.clusterId, name: this.name(), sealingPublicKey: new Uint8Array(32), ...more },
        status: {
          create: {
            ...{ desiredView: view, appliedEpoch: 1n, appliedGeneration: 6n, appliedRootHash: rootHash },
            ...{ appliedAt: new Date(), attemptedGeneration: 7n, attemptedRootHash: rootHash, attemptedAt: new Date() },
            ...{ attemptOutcome: 'refused', attemptRefusals: refusals, version: this.agentVersion, bootEpoch: 3n },
            ...{ connected: true, lastSeenAt: new Date(), spoolBytes: 5n, spoolBytesMax: 6n, spoolRecordCount: 7n },
            ...{ inFlightCount: 8, certificateNotAfter: new Date(), snapshotBytesMax: 9n, resourcesMax: 10 },
            targets: [{ providerId: this.#providerId, ready: true, reason: 'ok' }],
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

  async #cluster(): Promise<string> {
    const id = this.#keep(newId('cluster', Date.now() + ++this.#count))
    await this.#database.rows.cluster.create({
      data: { id, name: this.name(), kind: 'egress', cloud: 'planted-cloud', region: 'planted-region' },
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
