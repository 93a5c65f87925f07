import { type PgNotification, type PgPool, type PgPoolClient, type PgQueryResult, runMigrations } from 'bullmq'
import pg from 'pg'

/** Where BullMQ keeps its tables; its statements name no schema. */
const schema = 'bullmq'

/**
 * The connections of one queue or worker. BullMQ can make its own, and is then caught out when Postgres ends one in the
 * very moment it is made: nobody listens yet, and the error ends the process; or somebody does, and the worker keeps a
 * dead connection to wait on for ever. Here every connection is listened to from birth, and a dead one is never lent.
 */
export class QueuePool implements PgPool {
  readonly #pool: pg.Pool
  readonly #dead = new WeakSet<pg.PoolClient>()

  constructor(connectionString: string, max: number) {
    this.#pool = new pg.Pool({
      connectionString,
      application_name: 'switchyard-queues',
      options: `-c search_path=${schema}`,
      keepAlive: true,
      connectionTimeoutMillis: 5_000,
      max,
    })
    this.#pool.on('error', () => {})
    this.#pool.on('connect', (client) => client.on('error', () => this.#dead.add(client)))
  }

  // biome-ignore lint/suspicious/noExplicitAny: BullMQ's own signature
  query<R = any>(text: string, params?: readonly unknown[]): Promise<PgQueryResult<R>> {
    return this.#pool.query<R & pg.QueryResultRow>(text, params === undefined ? undefined : [...params])
  }

  async connect(): Promise<PgPoolClient> {
    const client = await this.#pool.connect()
    if (!this.#dead.has(client)) return new LentClient(client)
    client.release(true)
    throw new Error('Connection terminated while it was made')
  }

  end(): Promise<void> {
    return this.#pool.ended || this.#pool.ending ? Promise.resolve() : this.#pool.end()
  }

  /** Errors of idle connections are nobody's; queries report their own. */
  on(): this {
    return this
  }

  /** BullMQ calls it when it is done; what guards the connections stays. */
  removeAllListeners(): this {
    return this
  }
}

/**
 * A connection as BullMQ sees it, without the socket: a worker that finds keep-alive on it waits for up to an hour on a
 * connection that died while it began to listen; one that does not looks again after ten seconds.
 */
class LentClient implements PgPoolClient {
  readonly #client: pg.PoolClient

  constructor(client: pg.PoolClient) {
    this.#client = client
  }

  // biome-ignore lint/suspicious/noExplicitAny: BullMQ's own signature
  query<R = any>(text: string, params?: readonly unknown[]): Promise<PgQueryResult<R>> {
    return this.#client.query<R & pg.QueryResultRow>(text, params === undefined ? undefined : [...params])
  }

  on(event: 'notification', listener: (message: PgNotification) => void): this
  on(event: 'error', listener: (fault: Error) => void): this
  on(event: 'end', listener: () => void): this
  on(event: 'notification' | 'error' | 'end', listener: (argument: never) => void): this {
    this.#emitter.on(event, listener as (argument: unknown) => void)
    return this
  }

  removeListener(event: 'notification', listener: (message: PgNotification) => void): this {
    this.#emitter.removeListener(event, listener)
    return this
  }

  removeAllListeners(event?: string): this {
    if (event === 'notification') this.#emitter.removeAllListeners(event)
    return this
  }

  release(destroy?: boolean): void {
    this.#client.release(destroy)
  }

  get #emitter(): NodeJS.EventEmitter {
    return this.#client
  }
}

/** Makes BullMQ's tables, or brings them up to date; many at once do it once. Needs the right to make a schema. */
export async function makeQueueTables(connectionString: string): Promise<void> {
  const client = new pg.Client({ connectionString, application_name: 'switchyard-queues' })
  client.on('error', () => {})
  await client.connect()
  try {
    await runMigrations(client, schema)
  } finally {
    await client.end()
  }
}
