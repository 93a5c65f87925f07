import { createHash } from 'node:crypto'
import type { z } from 'zod'
import { apiKeyPrefix, makeApiKeyText } from '../../../proto/policy/api-key-text.js'
import { must } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import { newId, randomSecret } from '../../../proto/std/ids.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { checkInput } from '../access/check-input.js'
import { bumpDenyRevision } from '../access/deny-revision.js'
import { isPermitted, refuseMissing, requirePermission } from '../access/permission.js'
import type { Actor } from '../access/principal.js'
import { tenantScope } from '../access/tenant-scope.js'
import type { AuditStore } from '../audit/audit-store.js'
import type { Database, Transaction } from '../database/database.js'
import type { Page, PageArgs } from '../database/page.js'
import {
  type ApiKey,
  apiKeyState,
  apiKeysPerEnvironmentMax,
  auditApiKey,
  createApiKeyInput,
  deniedKeysPerEnvironmentMax,
  inFlightMaxDefault,
  requestsPerMinuteMaxDefault,
  revokeApiKeyInput,
  rotateApiKeyInput,
  updateApiKeyInput,
} from './api-key.js'
import type { ApiKeyStore } from './api-key-store.js'
import type { Environment } from './environment.js'
import type { EnvironmentStore } from './environment-store.js'
import { type Bell, bumpIntentRevisions } from './intent-revision.js'
import type { TeamStore } from './team-store.js'

export interface ApiKeyServiceOptions {
  readonly database: Database
  readonly environments: EnvironmentStore
  readonly teams: TeamStore
  readonly apiKeys: ApiKeyStore
  readonly audit: AuditStore
  readonly clock: Clock
  readonly bell: Bell
  /** Names among `names` that are no route of the environment; the routes room answers. */
  readonly unknownRoutes: (environmentId: string, names: readonly string[]) => Promise<readonly string[]>
}

export interface ApiKeyChange {
  readonly apiKey: ApiKey
  readonly intentRevision: bigint
}

/** With the whole key, this once. */
export interface ApiKeyMade extends ApiKeyChange {
  readonly text: string
}

/** Use cases of API keys. Revoking answers when it is committed; agents follow within their delivery time. */
export class ApiKeyService {
  readonly #options: ApiKeyServiceOptions

  readonly byId = Object.freeze({
    load: async (actor: Actor, ids: readonly string[]): Promise<readonly (ApiKey | null)[]> => {
      const rows = await this.#options.apiKeys.findMany(ids)
      const visible = rows.filter((row) => isPermitted(actor, 'api-key.read', row.tenantId))
      const byId = new Map(visible.map((row) => [row.id, row]))
      return ids.map((id) => byId.get(id) ?? null)
    },
  })

  constructor(options: ApiKeyServiceOptions) {
    this.#options = options
  }

  async find(actor: Actor, id: string): Promise<ApiKey | null> {
    const key = await this.#options.apiKeys.find(id)
    return key !== null && isPermitted(actor, 'api-key.read', key.tenantId) ? key : null
  }

  /** Newest first; of one environment or of the whole tenant. */
  async list(
    actor: Actor,
    args: PageArgs,
    of: { tenantId?: string | null | undefined; environmentId?: string | null | undefined },
  ): Promise<Page<ApiKey>> {
    if (of.environmentId) {
      const missing = noEnvironment('environmentId')
      const environment = (await this.#options.environments.find(of.environmentId)) ?? refuseMissing(missing)
      requirePermission(actor, 'api-key.read', environment.tenantId, missing)
      return this.#options.apiKeys.page(args, { tenantId: environment.tenantId, environmentId: environment.id })
    }
    const tenantId = tenantScope(actor, of.tenantId, 'tenantId')
    requirePermission(actor, 'api-key.read', tenantId)
    return this.#options.apiKeys.page(args, { tenantId, environmentId: null })
  }

  async create(actor: Actor, input: z.input<typeof createApiKeyInput>): Promise<ApiKeyMade> {
    const checked = checkInput(createApiKeyInput, input)
    const { environmentId, name } = checked
    const missing = noEnvironment('input.environmentId')
    const seen = (await this.#options.environments.find(environmentId)) ?? refuseMissing(missing)
    requirePermission(actor, 'api-key.write', seen.tenantId, missing)
    await this.#requireTeam(seen.tenantId, checked.teamId)
    await this.#requireRoutes(environmentId, checked.allowedRoutes)
    return this.#change(async (transaction) => {
      const environment = await this.#activeEnvironment(transaction, environmentId, 'input.environmentId')
      await this.#requireRoom(transaction, environmentId)
      requireFuture(checked.expiresAt, transaction.now)
      const { key, text } = await this.#insert(actor, transaction, environment, {
        ...{ name, teamId: checked.teamId ?? null, allowedRoutes: checked.allowedRoutes ?? [] },
        ...{ internalOnly: checked.internalOnly ?? false, mayPin: checked.mayPin ?? false },
        inFlightMax: checked.inFlightMax ?? inFlightMaxDefault,
        requestsPerMinuteMax: checked.requestsPerMinuteMax ?? requestsPerMinuteMaxDefault,
        ...{ expiresAt: checked.expiresAt ?? null, rotatedFromId: null },
      })
      await this.#append(actor, transaction, 'api-key.create', null, key)
      return { apiKey: key, text, intentRevision: await bumpOne(transaction, environmentId) }
    })
  }

  /** Refuses `conflict` for a revoked key. */
  async update(actor: Actor, input: z.input<typeof updateApiKeyInput>): Promise<ApiKeyChange> {
    const checked = checkInput(updateApiKeyInput, input)
    const { apiKeyId, name, teamId, allowedRoutes, inFlightMax, requestsPerMinuteMax, expiresAt } = checked
    const seen = await this.#writableKey(actor, apiKeyId)
    await this.#requireTeam(seen.tenantId, teamId)
    await this.#requireRoutes(seen.environmentId, allowedRoutes)
    return this.#change(async (transaction) => {
      const { key } = await this.#lock(transaction, seen)
      if (key.revokedAt !== null) throwRefusal('conflict', 'the key is revoked', { field: 'input.apiKeyId' })
      requireFuture(expiresAt, transaction.now)
      const next = await this.#options.apiKeys.update(transaction, {
        ...key,
        name: name ?? key.name,
        teamId: teamId === undefined ? key.teamId : teamId,
        allowedRoutes: allowedRoutes ?? key.allowedRoutes,
        internalOnly: checked.internalOnly ?? key.internalOnly,
        mayPin: checked.mayPin ?? key.mayPin,
        inFlightMax: inFlightMax ?? key.inFlightMax,
        requestsPerMinuteMax: requestsPerMinuteMax ?? key.requestsPerMinuteMax,
        expiresAt: expiresAt === undefined ? key.expiresAt : expiresAt,
      })
      await this.#append(actor, transaction, 'api-key.update', key, next)
      return { apiKey: next, intentRevision: await bumpOne(transaction, key.environmentId) }
    })
  }

  /**
   * With `abort`, agents end its running streams too. Revoking again changes nothing, except that a first revocation
   * without `abort` may be followed by one with it.
   */
  async revoke(actor: Actor, input: z.input<typeof revokeApiKeyInput>): Promise<ApiKeyChange> {
    const checked = checkInput(revokeApiKeyInput, input)
    const abort = checked.abort ?? false
    const seen = await this.#writableKey(actor, checked.apiKeyId)
    return this.#change(async (transaction) => {
      const { key, environment } = await this.#lock(transaction, seen)
      if (key.revokedAt !== null && (key.abortOnRevoke || !abort)) {
        return { apiKey: key, intentRevision: environment.intentRevision }
      }
      return this.#revoke(actor, transaction, key, abort, 'api-key.revoke')
    })
  }

  /**
   * A new key like the old one; the old one works for `overlapMinutes` more (0: not at all) and never longer than it
   * would have. Refuses `conflict` for a key that no longer works.
   */
  async rotate(
    actor: Actor,
    input: z.input<typeof rotateApiKeyInput>,
  ): Promise<ApiKeyMade & { readonly previous: ApiKey }> {
    const { apiKeyId, overlapMinutes } = checkInput(rotateApiKeyInput, input)
    const seen = await this.#writableKey(actor, apiKeyId)
    return this.#change(async (transaction) => {
      const { key, environment } = await this.#lock(transaction, seen)
      const state = apiKeyState(key, transaction.now)
      if (state !== 'active') throwRefusal('conflict', `the key is ${state}`, { field: 'input.apiKeyId' })
      await this.#requireRoom(transaction, environment.id)
      const { key: made, text } = await this.#insert(actor, transaction, environment, { ...key, rotatedFromId: key.id })
      await this.#append(actor, transaction, 'api-key.create', null, made)
      if (overlapMinutes === 0) {
        const { apiKey: previous, intentRevision } = await this.#revoke(
          actor,
          transaction,
          key,
          false,
          'api-key.rotate',
        )
        return { apiKey: made, text, previous, intentRevision }
      }
      const endsAt = new Date(transaction.now.getTime() + overlapMinutes * 60_000)
      const expiresAt = key.expiresAt !== null && key.expiresAt < endsAt ? key.expiresAt : endsAt
      const previous = await this.#options.apiKeys.update(transaction, { ...key, expiresAt })
      await this.#append(actor, transaction, 'api-key.rotate', key, previous)
      return { apiKey: made, text, previous, intentRevision: await bumpOne(transaction, environment.id) }
    })
  }

  async #change<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const result = await this.#options.database.transaction(new Date(this.#options.clock.nowMs()), work)
    this.#options.bell.ring()
    return result
  }

  async #insert(
    actor: Actor,
    transaction: Transaction,
    environment: Environment,
    like: Pick<
      ApiKey,
      | 'name'
      | 'teamId'
      | 'allowedRoutes'
      | 'internalOnly'
      | 'mayPin'
      | 'inFlightMax'
      | 'requestsPerMinuteMax'
      | 'expiresAt'
      | 'rotatedFromId'
    >,
  ): Promise<{ key: ApiKey; text: string }> {
    const text = makeApiKeyText(environment.name, Buffer.from(randomSecret(32)).toString('base64url'))
    const key: ApiKey = {
      id: newId('apiKey', transaction.now.getTime()),
      tenantId: environment.tenantId,
      environmentId: environment.id,
      teamId: like.teamId,
      name: like.name,
      prefix: apiKeyPrefix(text),
      allowedRoutes: like.allowedRoutes,
      internalOnly: like.internalOnly,
      mayPin: like.mayPin,
      inFlightMax: like.inFlightMax,
      requestsPerMinuteMax: like.requestsPerMinuteMax,
      expiresAt: like.expiresAt,
      revokedAt: null,
      abortOnRevoke: false,
      rotatedFromId: like.rotatedFromId,
      createdBy: actor.principal.subject,
      createdAt: transaction.now,
      rowVersion: 1,
    }
    const secretHash = new Uint8Array(createHash('sha256').update(text).digest())
    await this.#options.apiKeys.insert(transaction, key, secretHash)
    return { key, text }
  }

  /** The deny section follows the deny revision, so it is bumped last: its row's lock is short. */
  async #revoke(
    actor: Actor,
    transaction: Transaction,
    key: ApiKey,
    abort: boolean,
    action: string,
  ): Promise<ApiKeyChange> {
    const next = await this.#options.apiKeys.update(transaction, {
      ...key,
      revokedAt: key.revokedAt ?? transaction.now,
      abortOnRevoke: abort,
    })
    await this.#append(actor, transaction, action, key, next)
    const intentRevision = await bumpOne(transaction, key.environmentId)
    await bumpDenyRevision(transaction)
    return { apiKey: next, intentRevision }
  }

  async #append(
    actor: Actor,
    transaction: Transaction,
    action: string,
    before: ApiKey | null,
    after: ApiKey,
  ): Promise<void> {
    await this.#options.audit.append(transaction, {
      ...{ actor, tenantId: after.tenantId, action, subjectKind: 'api-key', subjectId: after.id },
      ...(before === null ? {} : { before: auditApiKey(before) }),
      after: auditApiKey(after),
    })
  }

  /** Before the transaction: who waits for a lock must not wait for a second connection meanwhile. */
  async #writableKey(actor: Actor, id: string): Promise<ApiKey> {
    const missing = { message: 'no such API key', field: 'input.apiKeyId' }
    const key = (await this.#options.apiKeys.find(id)) ?? refuseMissing(missing)
    requirePermission(actor, 'api-key.write', key.tenantId, missing)
    return key
  }

  /** Environment first, then key: the order in which an environment is archived with its keys. */
  async #lock(
    transaction: Transaction,
    { id, environmentId }: ApiKey,
  ): Promise<{ key: ApiKey; environment: Environment }> {
    const { apiKeys, environments } = this.#options
    const environment = must(
      await environments.findLocked(transaction, environmentId),
      'environments are never deleted',
    )
    return { environment, key: must(await apiKeys.findLocked(transaction, id), 'keys are never deleted') }
  }

  async #activeEnvironment(transaction: Transaction, id: string, field: string): Promise<Environment> {
    const environment = must(await this.#options.environments.findLocked(transaction, id), 'it was there a moment ago')
    if (environment.archivedAt !== null) throwRefusal('conflict', 'the environment is archived', { field })
    return environment
  }

  async #requireRoom(transaction: Transaction, environmentId: string): Promise<void> {
    const { apiKeys } = this.#options
    if ((await apiKeys.countUnrevoked(transaction, environmentId)) >= apiKeysPerEnvironmentMax) {
      throwRefusal(
        'limit_exceeded',
        `an environment has at most ${apiKeysPerEnvironmentMax} keys; revoke some that are no longer used`,
      )
    }
    if ((await apiKeys.countDenied(transaction, environmentId)) >= deniedKeysPerEnvironmentMax) {
      throwRefusal(
        'limit_exceeded',
        `an environment has at most ${deniedKeysPerEnvironmentMax} revoked keys that have not expired; ` +
          'make new keys in another environment, or wait until revoked ones expire, and give keys an expiry',
      )
    }
  }

  async #requireTeam(tenantId: string, teamId: string | null | undefined): Promise<void> {
    if (teamId === null || teamId === undefined) return
    const team = await this.#options.teams.find(teamId)
    if (team?.tenantId !== tenantId) throwRefusal('not_found', 'no such team', { field: 'input.teamId' })
  }

  async #requireRoutes(environmentId: string, names: readonly string[] | null | undefined): Promise<void> {
    if (!names || names.length === 0) return
    const [unknown] = await this.#options.unknownRoutes(environmentId, names)
    if (unknown === undefined) return
    throwRefusal('not_found', `no route ${unknown} in this environment`, { field: 'input.allowedRoutes' })
  }
}

function requireFuture(expiresAt: Date | null | undefined, now: Date): void {
  if (expiresAt && expiresAt <= now) {
    throwRefusal('bad_input', 'input.expiresAt: expected an instant in the future', { field: 'input.expiresAt' })
  }
}

async function bumpOne(transaction: Transaction, environmentId: string): Promise<bigint> {
  const revisions = await bumpIntentRevisions(transaction, [environmentId])
  return must(revisions.get(environmentId), 'the environment of a key exists')
}

function noEnvironment(field: string) {
  return { message: 'no such environment', field }
}
