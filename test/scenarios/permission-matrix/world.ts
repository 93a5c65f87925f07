import { randomBytes } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { GraphQLSchema } from 'graphql'
import { createClient } from 'graphql-ws'
import { SignJWT } from 'jose'
import { WebSocket } from 'ws'
import { buildGraphSchema } from '../../../control-plane/src/api/schema.js'
import { ControlPlane } from '../../../control-plane/src/control-plane.js'
import { Database } from '../../../control-plane/src/database/database.js'
import { resolverClasses } from '../../../control-plane/src/resolvers.js'
import { loadSettings } from '../../../control-plane/src/settings.js'
import { systemClock } from '../../../proto/std/clock.js'
import { newId } from '../../../proto/std/ids.js'
import type { Log } from '../../../proto/std/service.js'
import { testDatabase } from '../../harness/postgres.js'
import { Estate } from './estate.js'
import { FleetEstate } from './fleet-estate.js'
import type { Level } from './levels.js'

/** Somebody who asks. `level` holds inside the owner's tenant; a stranger has none there. */
export interface Asker {
  readonly name: string
  readonly level: Level | null
  /** Null: sends none. */
  readonly token: string | null
}

export interface Answer {
  readonly data: unknown
  readonly errors: readonly {
    readonly message: string
    readonly code: string
    readonly field: string | undefined
    /** Of the place in the answer: 1 is the root field, 0 the whole question. */
    readonly depth: number
  }[]
  /** The whole body, to look for what must not be in it. */
  readonly text: string
}

const secret = randomBytes(32).toString('base64url')
const silent: Log = {
  debug() {},
  info() {},
  warn() {},
  error: (fields, message) => console.error(message, fields),
  child: () => silent,
}

/** A control plane that runs, two tenants with everything, a third one out of service, and everybody who may ask. */
export class World {
  readonly schema: GraphQLSchema
  readonly database: Database
  /** Whose fields are looked at. */
  readonly owner: Estate
  readonly stranger: Estate
  readonly fleet: FleetEstate
  readonly archivedTenantId: string
  /** Of the owner's tenant, by level, and those who have no business there. */
  readonly askers: readonly Asker[]
  readonly #url: string
  readonly #end: () => Promise<void>

  private constructor(
    parts: Pick<World, 'schema' | 'database' | 'owner' | 'stranger' | 'fleet' | 'archivedTenantId' | 'askers'>,
    door: { url: string; end: () => Promise<void> },
  ) {
    this.schema = parts.schema
    this.database = parts.database
    this.owner = parts.owner
    this.stranger = parts.stranger
    this.fleet = parts.fleet
    this.archivedTenantId = parts.archivedTenantId
    this.askers = parts.askers
    this.#url = door.url
    this.#end = door.end
  }

  static async start(): Promise<World> {
    const clone = await testDatabase()
    const upstream = await startUpstream()
    const providerUrl = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}/v1`
    const controlPlane = new ControlPlane(
      loadSettings({
        DATABASE_URL: clone.url,
        ...{
          SWITCHYARD_HTTP_PORT: '0',
          SWITCHYARD_METRICS_PORT: '0',
          SWITCHYARD_FLEET_PORT: '0',
          SWITCHYARD_ENROL_PORT: '0',
        },
        SWITCHYARD_WRAP_KEYS: `test:${randomBytes(32).toString('base64')}`,
        SWITCHYARD_JWT_HS256_SECRET: secret,
      }),
      { clock: systemClock, log: silent },
    )
    await controlPlane.start()
    const database = new Database({ url: clone.url, poolMax: 4, sqlPoolMax: 2 })
    const owner = await Estate.plant(database, { mark: 'alpha', figure: 111, providerUrl })
    const stranger = await Estate.plant(database, { mark: 'omega', figure: 222, providerUrl })
    const fleet = await FleetEstate.plant(database, owner)
    const archivedTenantId = newId('tenant', systemClock.nowMs())
    await database.rows.tenant.create({
      data: { id: archivedTenantId, slug: 'gone', name: 'Gone', archivedAt: new Date() },
    })
    const schema = await buildGraphSchema(resolverClasses)
    return new World(
      { schema, database, owner, stranger, fleet, archivedTenantId, askers: await makeAskers(owner, stranger) },
      {
        url: `${controlPlane.addresses.http}/graphql`,
        end: async () => {
          await controlPlane.stop()
          await database.close()
          await clone.drop()
          upstream.closeAllConnections()
          upstream.close()
        },
      },
    )
  }

  /** Of everything that is looked at. */
  get ids(): ReadonlySet<string> {
    return new Set([...this.owner.ids, ...this.fleet.ids])
  }

  stop(): Promise<void> {
    return this.#end()
  }

  asker(name: string): Asker {
    const found = this.askers.find((asker) => asker.name === name)
    if (found === undefined) throw new Error(`nobody is called ${name}`)
    return found
  }

  /** `requestId`: the caller's own, as it will stand in the audit trail. */
  async ask(
    asker: Asker,
    query: string,
    variables: Readonly<Record<string, unknown>>,
    requestId?: string,
  ): Promise<Answer> {
    const response = await fetch(this.#url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(asker.token === null ? {} : { authorization: `Bearer ${asker.token}` }),
        ...(requestId === undefined ? {} : { 'x-request-id': requestId }),
      },
      body: JSON.stringify({ query, variables }),
    })
    return answerOf(await response.text())
  }

  /**
   * Listens, then makes `events` happen one after the other until something is heard; the first thing heard, or the refusal.
   */
  async listen(
    asker: Asker,
    query: string,
    variables: Readonly<Record<string, unknown>>,
    events: () => Promise<void>,
  ): Promise<Answer> {
    const client = createClient({
      url: this.#url.replace(/^http/, 'ws'),
      webSocketImpl: WebSocket,
      retryAttempts: 0,
      lazy: true,
      ...(asker.token === null ? {} : { connectionParams: { Authorization: `Bearer ${asker.token}` } }),
    })
    try {
      const heard = client.iterate({ query, variables })
      const first = heard.next()
      first.catch(() => {})
      for (let answer: IteratorResult<unknown> | null = null; ; ) {
        await events()
        answer = await Promise.race([first, systemClock.sleep(100).then(() => null)])
        if (answer !== null) return answerOf(JSON.stringify(answer.done ? { data: null } : answer.value))
      }
    } catch (fault) {
      // A list of GraphQL errors, or the closing of the socket.
      const errors = Array.isArray(fault)
        ? fault
        : [{ message: String((fault as { reason?: string }).reason ?? fault), extensions: { code: 'UNAUTHENTICATED' } }]
      return answerOf(JSON.stringify({ errors }))
    } finally {
      await client.dispose()
    }
  }
}

function answerOf(text: string): Answer {
  const body = JSON.parse(text) as {
    data?: unknown
    errors?: { message: string; path?: unknown[]; extensions?: { code?: string; field?: string } }[]
  }
  const errors = (body.errors ?? []).map(({ message, path, extensions }) => ({
    ...{ message, code: extensions?.code ?? 'none', field: extensions?.field, depth: path?.length ?? 0 },
  }))
  return { data: body.data ?? null, errors, text }
}

async function makeAskers(owner: Estate, stranger: Estate): Promise<readonly Asker[]> {
  const token = (subject: string, tenantId: string | null, roles: readonly string[]) =>
    new SignJWT({ ...(tenantId === null ? {} : { tenant: tenantId }), roles: [...roles] })
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(subject)
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(new TextEncoder().encode(secret))
  const inside = async (level: 'tenant-admin' | 'developer' | 'viewer'): Promise<Asker> => ({
    ...{ name: level, level, token: await token(`${owner.mark}-${level}`, owner.tenantId, [level]) },
  })
  const everyRole = ['platform-admin', 'tenant-admin', 'developer', 'viewer']
  return [
    { name: 'platform-admin', level: 'platform-admin', token: await token('platform', null, ['platform-admin']) },
    ...[await inside('tenant-admin'), await inside('developer'), await inside('viewer')],
    { name: 'no role', level: 'authenticated', token: await token(`${owner.mark}-nobody`, owner.tenantId, []) },
    // A platform admin by its own word only: the role does not count in a token of a tenant.
    { name: 'stranger', level: null, token: await token('stranger', stranger.tenantId, everyRole) },
    { name: 'anonymous', level: null, token: null },
  ]
}

/** Something that a test of a provider can call. */
async function startUpstream(): Promise<Server> {
  const server = createServer((_, response) => response.end(JSON.stringify({ data: [{ id: 'upstream-model' }] })))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}
