import type pg from 'pg'
import type { Database } from '../database/database.js'
import type { KeyRing } from './encryption.js'

/** A column that holds something sealed: where it is, and the context that it is sealed with. */
interface WrappedColumn {
  readonly name: string
  readonly table: string
  readonly key: readonly string[]
  readonly ciphertext: string
  readonly wrapKeyId: string
  /** From the values of `key`, in order. Must be what the room that seals it uses. */
  readonly contextOf: (key: readonly string[]) => string
}

/** Every column of the database that is sealed under the key ring. */
const wrappedColumns: readonly WrappedColumn[] = [
  {
    name: 'provider credentials',
    table: '"Credential"',
    key: ['id', 'version'],
    ciphertext: '"ciphertext"',
    wrapKeyId: '"wrapKeyId"',
    contextOf: ([id, version]) => `credential/${id}/${version}`,
  },
  {
    name: 'certificate authority keys',
    table: '"Installation"',
    key: ['id'],
    ciphertext: '"caKey"',
    wrapKeyId: '"caKeyWrapId"',
    contextOf: () => 'ca',
  },
  {
    name: 'signing keys',
    table: '"SigningKey"',
    key: ['id'],
    ciphertext: '"privateKey"',
    wrapKeyId: '"wrapKeyId"',
    contextOf: ([id]) => `signing-key/${id}`,
  },
]

export interface RewrapCount {
  readonly name: string
  readonly rewrapped: number
}

/**
 * Re-wraps what is sealed under an older key with the active one, a batch per transaction, while everything keeps
 * running: a row is locked for the moment in which it is opened and sealed, and readers see it before or after.
 * Interrupted, it is simply run again.
 */
export class WrappedSecretStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** Faults, before anything of the batch is written, when a row's key is not in the ring or its bytes do not open. */
  async rewrapAll(keyRing: KeyRing, batchCount: number): Promise<readonly RewrapCount[]> {
    const counts: RewrapCount[] = []
    for (const column of wrappedColumns) {
      let rewrapped = 0
      for (;;) {
        const count = await this.#database.sqlTransaction((client) => rewrapBatch(client, column, keyRing, batchCount))
        rewrapped += count
        if (count === 0) break
      }
      counts.push({ name: column.name, rewrapped })
    }
    return counts
  }

  /** How many values are sealed under each key, so that an operator sees which may leave the settings. */
  async countByKey(): Promise<ReadonlyMap<string, number>> {
    const counts = new Map<string, number>()
    for (const { table, wrapKeyId, ciphertext } of wrappedColumns) {
      const { rows } = await this.#database.sql.query<{ id: string; count: string }>(
        `SELECT ${wrapKeyId} AS id, count(*) AS count FROM ${table} WHERE ${ciphertext} IS NOT NULL GROUP BY 1`,
      )
      for (const row of rows) counts.set(row.id, (counts.get(row.id) ?? 0) + Number(row.count))
    }
    return counts
  }
}

async function rewrapBatch(
  client: pg.PoolClient,
  column: WrappedColumn,
  keyRing: KeyRing,
  batchCount: number,
): Promise<number> {
  const { table, ciphertext, wrapKeyId, contextOf } = column
  const key = column.key.map((name) => `"${name}"`)
  const { rows } = await client.query<{ key: string[]; ciphertext: Buffer; wrapKeyId: string }>(
    `SELECT ARRAY[${key.map((name) => `${name}::text`).join(', ')}] AS key,
            ${ciphertext} AS "ciphertext", ${wrapKeyId} AS "wrapKeyId"
       FROM ${table} WHERE ${ciphertext} IS NOT NULL AND ${wrapKeyId} <> $1
      ORDER BY ${key.join(', ')} LIMIT $2 FOR UPDATE`,
    [keyRing.activeKeyId, batchCount],
  )
  for (const row of rows) {
    const context = contextOf(row.key)
    const sealed = keyRing.seal(keyRing.open(row.ciphertext, row.wrapKeyId, context), context)
    const isThisRow = key.map((name, i) => `${name}::text = $${i + 3}`).join(' AND ')
    await client.query(`UPDATE ${table} SET ${ciphertext} = $1, ${wrapKeyId} = $2 WHERE ${isThisRow}`, [
      Buffer.from(sealed.ciphertext),
      sealed.wrapKeyId,
      ...row.key,
    ])
  }
  return rows.length
}
