import type { Database } from '../../../control-plane/src/database/database.js'

export interface Entry {
  readonly action: string
  readonly actor: string
  readonly actorKind: string
  readonly tenantId: string | null
  readonly subjectId: string
  readonly subjectKind: string
  /** Id of the transaction that wrote it. */
  readonly transaction: string
}

/** Tables of the trail itself, of what the reconciler and the workers write by themselves, and of the migrations. */
const beside = /^(?:AuditEntry|Snapshot.*|Tombstone|SectionFailure|Usage.*|Spool.*|Rollup.*|DeadLetter|TraceSpan|_.*)$/

/** The database itself, looked at past every reader: what was written, by which transaction, and what was not. */
export class Ledger {
  readonly #database: Database
  /** That a mutation may change. */
  readonly #tables: readonly string[]

  private constructor(database: Database, tables: readonly string[]) {
    this.#database = database
    this.#tables = tables
  }

  static async open(database: Database): Promise<Ledger> {
    const { rows } = await database.sql.query<{ name: string }>(
      `SELECT table_name AS name FROM information_schema.tables
       WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY name`,
    )
    return new Ledger(
      database,
      rows.map(({ name }) => name).filter((name) => !beside.test(name)),
    )
  }

  async entriesOf(requestId: string): Promise<readonly Entry[]> {
    const { rows } = await this.#database.sql.query<Entry>(
      `SELECT action, actor, "actorKind", "tenantId", "subjectId", "subjectKind", xmin::text AS transaction
       FROM "AuditEntry" WHERE "requestId" = $1 ORDER BY action`,
      [requestId],
    )
    return rows
  }

  /** The whole trail as text. */
  async trail(): Promise<string> {
    return JSON.stringify((await this.#database.sql.query('SELECT * FROM "AuditEntry"')).rows)
  }

  async installationId(): Promise<string> {
    const { id } = await this.#database.rows.installation.findFirstOrThrow()
    return id
  }

  /** Tables with rows as that transaction wrote them. */
  async changedBy(transaction: string): Promise<readonly string[]> {
    const each = this.#tables.map((table) => `SELECT '${table}' AS name FROM "${table}" WHERE xmin::text = $1`)
    const { rows } = await this.#database.sql.query<{ name: string }>(each.join(' UNION '), [transaction])
    return rows.map(({ name }) => name)
  }

  /** Tables that `work` leaves otherwise than it found them, whoever changed them. */
  async changedDuring(work: () => Promise<void>): Promise<readonly string[]> {
    const before = await this.#fingerprint()
    await work()
    const after = await this.#fingerprint()
    return this.#tables.filter((table) => before.get(table) !== after.get(table))
  }

  /** While `work` goes on, the trail takes nothing. */
  async withoutTrail(work: () => Promise<void>): Promise<void> {
    await this.#database.sql.query(`
      CREATE FUNCTION mute() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the trail is mute'; END $$;
      CREATE TRIGGER mute BEFORE INSERT ON "AuditEntry" FOR EACH ROW EXECUTE FUNCTION mute()`)
    try {
      await work()
    } finally {
      await this.#database.sql.query('DROP FUNCTION mute() CASCADE')
    }
  }

  /** Hashes and ciphertexts of everything secret, as they might be written down. */
  async storedSecrets(): Promise<readonly string[]> {
    const { rows } = await this.#database.sql.query<{ secret: Buffer }>(
      `SELECT "secretHash" AS secret FROM "ApiKey" UNION SELECT "tokenHash" FROM "JoinToken"
       UNION SELECT ciphertext FROM "Credential" WHERE ciphertext IS NOT NULL
       UNION SELECT "privateKey" FROM "SigningKey" UNION SELECT "caKey" FROM "Installation"`,
    )
    return rows.flatMap(({ secret }) => (['hex', 'base64', 'base64url'] as const).map((form) => secret.toString(form)))
  }

  /** A hash over all rows, by table. */
  async #fingerprint(): Promise<ReadonlyMap<string, string>> {
    const each = this.#tables.map(
      (table) =>
        `SELECT '${table}' AS name, md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '')) AS hash FROM "${table}" t`,
    )
    const { rows } = await this.#database.sql.query<{ name: string; hash: string }>(each.join(' UNION ALL '))
    return new Map(rows.map(({ name, hash }) => [name, hash]))
  }
}
