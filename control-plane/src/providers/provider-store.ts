import { must } from '../../../proto/std/assert.js'
import type { Database, Transaction } from '../database/database.js'
import type { Credential as CredentialRow, Prisma, Provider as ProviderRow } from '../database/generated/client.js'
import type { Credential } from './credential.js'
import type { Provider, ProviderFields } from './provider.js'
import { providerKinds } from './provider-kind.js'

/** The credential in force, joined. */
export const withCredential = {
  credentials: { where: { retiredAt: null }, orderBy: { version: 'desc' }, take: 1 },
} as const satisfies Prisma.ProviderInclude

type Row = ProviderRow & { credentials: CredentialRow[] }

/** What of a credential is sealed; leaves this room only towards agents and `testProvider`. */
export interface SealedSecret {
  readonly credentialId: string
  readonly version: number
  readonly ciphertext: Uint8Array
  readonly wrapKeyId: string
}

/** Rows of `Provider` with its credential in force. */
export class ProviderStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** Archived ones included. */
  async findMany(ids: readonly string[]): Promise<readonly Provider[]> {
    const rows = await this.#database.rows.provider.findMany({
      where: { id: { in: [...ids] } },
      include: withCredential,
    })
    return rows.map(providerOf)
  }

  /** Locks the row until the transaction ends, so that a check and the write after it see the same provider. */
  async findLocked(transaction: Transaction, id: string): Promise<Provider | null> {
    await transaction.rows.$queryRaw`SELECT id FROM "Provider" WHERE id = ${id} FOR UPDATE`
    const row = await transaction.rows.provider.findUnique({ where: { id }, include: withCredential })
    return row === null ? null : providerOf(row)
  }

  countOfTenant(transaction: Transaction, tenantId: string): Promise<number> {
    return transaction.rows.provider.count({ where: { tenantId, archivedAt: null } })
  }

  async insert(
    transaction: Transaction,
    provider: ProviderFields & { id: string; tenantId: string },
  ): Promise<Provider> {
    const row = await transaction.rows.provider.create({
      data: { ...provider, replicaUrls: [...provider.replicaUrls], createdAt: transaction.now },
      include: withCredential,
    })
    return providerOf(row)
  }

  async update(transaction: Transaction, id: string, fields: Partial<ProviderFields>): Promise<Provider> {
    const { replicaUrls, ...others } = fields
    const row = await transaction.rows.provider.update({
      where: { id },
      data: { ...others, ...(replicaUrls && { replicaUrls: [...replicaUrls] }), rowVersion: { increment: 1 } },
      include: withCredential,
    })
    return providerOf(row)
  }

  async archive(transaction: Transaction, id: string): Promise<Provider> {
    const row = await transaction.rows.provider.update({
      where: { id },
      data: { archivedAt: transaction.now, rowVersion: { increment: 1 } },
      include: withCredential,
    })
    return providerOf(row)
  }

  /**
   * Retires the version in force and, unless `next` is null, puts it in force. The version just retired stays, since agents
   * may hold a snapshot that still names it; older ones go, because they are of no use to anybody but a thief.
   */
  async replaceCredential(
    transaction: Transaction,
    providerId: string,
    next: {
      id: string
      version: number
      ciphertext: Uint8Array<ArrayBuffer> | null
      wrapKeyId: string | null
      reference: string | null
    } | null,
  ): Promise<void> {
    await transaction.rows.credential.deleteMany({ where: { providerId, retiredAt: { not: null } } })
    await transaction.rows.credential.updateMany({
      where: { providerId, retiredAt: null },
      data: { retiredAt: transaction.now },
    })
    if (next !== null) {
      await transaction.rows.credential.create({ data: { ...next, providerId, createdAt: transaction.now } })
    }
  }

  /** Every version, for a provider that nothing uses any more. */
  async deleteCredentials(transaction: Transaction, providerId: string): Promise<void> {
    await transaction.rows.credential.deleteMany({ where: { providerId } })
  }

  /** Id and highest version of the credential it has or last had. */
  async lastCredential(transaction: Transaction, providerId: string): Promise<{ id: string; version: number } | null> {
    return transaction.rows.credential.findFirst({
      where: { providerId },
      orderBy: { version: 'desc' },
      select: { id: true, version: true },
    })
  }

  async findSealedSecret(credentialId: string, version: number): Promise<SealedSecret | null> {
    const row = await this.#database.rows.credential.findUnique({
      where: { id_version: { id: credentialId, version } },
    })
    if (row === null || row.ciphertext === null || row.wrapKeyId === null) return null
    return { credentialId, version, ciphertext: row.ciphertext, wrapKeyId: row.wrapKeyId }
  }
}

export function providerOf(row: Row): Provider {
  const credential = row.credentials[0]
  return {
    id: row.id,
    tenantId: row.tenantId,
    name: row.name,
    kind: must(
      providerKinds.find((kind) => kind === row.kind),
      `provider ${row.id} has a known kind`,
    ),
    baseUrl: row.baseUrl,
    region: row.region,
    connectionsMax: row.connectionsMax,
    external: row.external,
    ...{ apiVersion: row.apiVersion, vendorRegion: row.vendorRegion, vendorProject: row.vendorProject },
    ...{ replicaUrls: row.replicaUrls, replicaScrapeMs: row.replicaScrapeMs },
    ...{ slaAvailabilityPpm: row.slaAvailabilityPpm, slaNote: row.slaNote },
    vendorRequestsPerMinute: row.vendorRequestsPerMinute,
    vendorTokensPerMinute: row.vendorTokensPerMinute,
    credential: credential === undefined ? null : credentialOf(credential),
    createdAt: row.createdAt,
    archivedAt: row.archivedAt,
    rowVersion: row.rowVersion,
  }
}

function credentialOf(row: CredentialRow): Credential {
  return {
    id: row.id,
    version: row.version,
    kind: row.reference === null ? 'secret' : 'reference',
    reference: row.reference,
    createdAt: row.createdAt,
  }
}
