import type { z } from 'zod'
import { must } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import { newId } from '../../../proto/std/ids.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { checkInput } from '../access/check-input.js'
import type { KeyRing } from '../access/encryption.js'
import { isPermitted, requirePermission } from '../access/permission.js'
import type { Actor } from '../access/principal.js'
import { tenantScope } from '../access/tenant-scope.js'
import type { AuditStore } from '../audit/audit-store.js'
import type { Database, Transaction } from '../database/database.js'
import type { Page, PageArgs } from '../database/page.js'
import { isUniqueViolation } from '../database/unique-violation.js'
import { type Bell, bumpTenantIntentRevisions } from '../tenancy/intent-revision.js'
import { originOf } from './base-url.js'
import { type CredentialContent, credentialContext, readCredential } from './credential.js'
import {
  auditProvider,
  changedEndpoint,
  completeStatement,
  connectionsMaxDefault,
  createProviderInput,
  givesEndpoint,
  type Provider,
  type ProviderFields,
  providersPerTenantMax,
  rotateProviderCredentialInput,
  updateProviderInput,
} from './provider.js'
import { endpointInput, isExternalKind } from './provider-kind.js'
import type { OpenCredential } from './provider-probe.js'
import type { ProviderFilter, ProviderReader } from './provider-reader.js'
import type { ProviderStore } from './provider-store.js'
import type { ProviderTester } from './provider-tester.js'
import type { ProviderTest } from './test-outcome.js'

export interface ProviderServiceOptions {
  readonly database: Database
  readonly providers: ProviderStore
  readonly reader: ProviderReader
  readonly audit: AuditStore
  readonly keyRing: KeyRing
  readonly tester: ProviderTester
  readonly clock: Clock
  readonly bell: Bell
}

/** A provider, and the new intent revision of every environment that may feel the change. */
export interface ProviderChange {
  readonly provider: Provider
  readonly intentRevisions: ReadonlyMap<string, bigint>
}

/** Use cases of providers. Every change bumps all environments of the tenant, since any of their routes may use it. */
export class ProviderService {
  readonly #options: ProviderServiceOptions

  /** For data loaders: null for providers that are not the actor's to see. */
  readonly byId = Object.freeze({
    load: async (actor: Actor, ids: readonly string[]): Promise<readonly (Provider | null)[]> => {
      const found = await this.#options.providers.findMany(ids)
      const visible = found.filter((provider) => isPermitted(actor, 'provider.read', provider.tenantId))
      const byId = new Map(visible.map((provider) => [provider.id, provider]))
      return ids.map((id) => byId.get(id) ?? null)
    },
  })

  constructor(options: ProviderServiceOptions) {
    this.#options = options
  }

  /** Null when there is none or it is not the actor's. */
  async find(actor: Actor, id: string): Promise<Provider | null> {
    const [provider] = await this.byId.load(actor, [id])
    return provider ?? null
  }

  /** Of the named tenant, else of the actor's own. */
  async list(
    actor: Actor,
    tenantId: string | null | undefined,
    filter: ProviderFilter,
    args: PageArgs,
  ): Promise<Page<Provider>> {
    const scope = tenantScope(actor, tenantId, 'tenantId')
    requirePermission(actor, 'provider.read', scope)
    return this.#options.reader.page(scope, filter, args)
  }

  /** Refuses `bad_input` by field, `conflict` for a taken name, `limit_exceeded` beyond `providersPerTenantMax`. */
  create(actor: Actor, input: z.input<typeof createProviderInput>): Promise<ProviderChange> {
    const { tenantId: named, ...given } = checkInput(createProviderInput, input)
    const { name, kind, region } = given
    const fields: ProviderFields = {
      ...{ name, kind, region, ...checkInput(endpointInput, given), ...completeStatement(given, null) },
      connectionsMax: given.connectionsMax ?? connectionsMaxDefault,
      external: given.external ?? isExternalKind(kind),
    }
    const credential = given.credential ? readCredential(kind, given.credential) : null
    const tenantId = tenantScope(actor, named)
    requirePermission(actor, 'provider.write', tenantId)
    return this.#change(async (transaction) => {
      const { providers, reader } = this.#options
      const intentRevisions = await bumpTenantIntentRevisions(transaction, tenantId)
      if (!(await reader.isTenantActive(transaction, tenantId))) {
        throwRefusal('not_found', 'no such tenant', { field: 'input.tenantId' })
      }
      if ((await providers.countOfTenant(transaction, tenantId)) >= providersPerTenantMax) {
        throwRefusal('limit_exceeded', `a tenant has at most ${providersPerTenantMax} providers; archive one first`)
      }
      const id = newId('provider', transaction.now.getTime())
      let provider = await providers.insert(transaction, { id, tenantId, ...fields })
      if (credential) {
        await this.#putCredential(transaction, actor, provider, credential)
        provider = must(await providers.findLocked(transaction, id), 'the provider just inserted is there')
      }
      await this.#record(transaction, actor, 'provider.create', null, provider)
      return { provider, intentRevisions }
    })
  }

  /**
   * Changes what is given; the kind never changes. Another origin, of a replica too, or another project needs the credential
   * given again: whoever may edit an address must not thereby learn the secret that is stored for it, or use it elsewhere.
   * Another region is refused while a route's environment does not permit it.
   */
  update(actor: Actor, input: z.input<typeof updateProviderInput>): Promise<ProviderChange> {
    const { providerId, rowVersion, credential, ...given } = checkInput(updateProviderInput, input)
    return this.#changeExisting(actor, providerId, 'provider.update', async (transaction, before) => {
      if (rowVersion != null && rowVersion !== before.rowVersion) {
        throwRefusal('conflict', `changed meanwhile (version ${before.rowVersion}); read it again and repeat`, {
          field: 'input.rowVersion',
        })
      }
      // Of what is not touched nothing is asked again: a rename must not fail over a rule that came later.
      const endpoint = givesEndpoint(given) ? checkInput(endpointInput, changedEndpoint(given, before)) : null
      if (endpoint !== null && before.credential !== null && !credential) {
        requireSamePlace(before, endpoint, given.baseUrl == null ? 'input.vendorRegion' : 'input.baseUrl')
        requireKnownReplicas(before, endpoint.replicaUrls)
      }
      const region = given.region ?? before.region
      if (region !== before.region) await this.#requirePermittedRegion(transaction, before.id, region)
      if (credential) await this.#putCredential(transaction, actor, before, readCredential(before.kind, credential))
      return this.#options.providers.update(transaction, before.id, {
        ...{ ...endpoint, ...completeStatement(given, before), region },
        name: given.name ?? before.name,
        connectionsMax: given.connectionsMax ?? before.connectionsMax,
        external: given.external ?? before.external,
      })
    })
  }

  /** Puts a new version of the credential in force; the one before is retired in the same transaction. */
  rotateCredential(actor: Actor, input: z.input<typeof rotateProviderCredentialInput>): Promise<ProviderChange> {
    const { providerId, credential } = checkInput(rotateProviderCredentialInput, input)
    return this.#changeExisting(actor, providerId, 'provider.rotate-credential', async (transaction, before) => {
      await this.#putCredential(transaction, actor, before, readCredential(before.kind, credential))
      return this.#options.providers.update(transaction, before.id, {})
    })
  }

  removeCredential(actor: Actor, providerId: string): Promise<ProviderChange> {
    return this.#changeExisting(actor, providerId, 'provider.remove-credential', async (transaction, before) => {
      await this.#options.providers.replaceCredential(transaction, before.id, null)
      return this.#options.providers.update(transaction, before.id, {})
    })
  }

  /** For good. Refused with `conflict`, naming the routes, while one has a target here or is measured by it. */
  archive(actor: Actor, providerId: string): Promise<ProviderChange> {
    return this.#changeExisting(actor, providerId, 'provider.archive', async (transaction, before) => {
      const { providers, reader } = this.#options
      const provider = await providers.archive(transaction, before.id)
      // After the write: its lock keeps routes from taking the provider while we look.
      const routes = await reader.findRoutesAt(transaction, before.id)
      if (routes.length > 0) {
        const names = routes.slice(0, 10).map((route) => `${route.name} (${route.environmentName})`)
        throwRefusal('conflict', `used by the routes ${names.join(', ')}; change or delete those first`, {
          field: 'providerId',
          detail: { reason: 'in_use', routeCount: routes.length },
        })
      }
      await providers.deleteCredentials(transaction, before.id)
      return { ...provider, credential: null }
    })
  }

  /** One cheap call from the control plane, explained. Needs `provider.write`, because it uses the credential. */
  async test(actor: Actor, providerId: string): Promise<{ provider: Provider; test: ProviderTest }> {
    const provider = await this.#requireWritable(actor, providerId)
    const { database, audit, clock, tester } = this.#options
    const test = await tester.test(provider, await this.#openCredential(provider))
    await database.transaction(new Date(clock.nowMs()), (transaction) =>
      audit.append(transaction, {
        ...{ actor, tenantId: provider.tenantId, action: 'provider.test', subjectKind: 'provider' },
        subjectId: provider.id,
        after: { ok: test.ok, step: test.step, httpStatus: test.httpStatus },
      }),
    )
    return { provider, test }
  }

  /** Null: the provider wants none. */
  async #openCredential({ credential }: Provider): Promise<OpenCredential | null> {
    const { providers, keyRing } = this.#options
    if (credential === null) return null
    if (credential.reference !== null) return { reference: credential.reference }
    const sealed = must(
      await providers.findSealedSecret(credential.id, credential.version),
      `credential ${credential.id}/${credential.version} in force has a ciphertext`,
    )
    const context = credentialContext(sealed.credentialId, sealed.version)
    return { secret: Buffer.from(keyRing.open(sealed.ciphertext, sealed.wrapKeyId, context)).toString('utf8') }
  }

  async #putCredential(
    transaction: Transaction,
    actor: Actor,
    provider: Provider,
    content: CredentialContent,
  ): Promise<void> {
    const { providers, keyRing } = this.#options
    const last = await providers.lastCredential(transaction, provider.id)
    const id = last?.id ?? newId('credential', transaction.now.getTime())
    const version = (last?.version ?? 0) + 1
    if (content.kind === 'reference') {
      requirePermission(actor, 'provider.reference', provider.tenantId)
      const { reference } = content
      await providers.replaceCredential(transaction, provider.id, {
        ...{ id, version, ciphertext: null, wrapKeyId: null, reference },
      })
    } else {
      const sealed = keyRing.seal(Buffer.from(content.secret, 'utf8'), credentialContext(id, version))
      await providers.replaceCredential(transaction, provider.id, { id, version, ...sealed, reference: null })
    }
  }

  async #changeExisting(
    actor: Actor,
    providerId: string,
    action: string,
    work: (transaction: Transaction, before: Provider) => Promise<Provider>,
  ): Promise<ProviderChange> {
    const { tenantId } = await this.#requireWritable(actor, providerId)
    return this.#change(async (transaction) => {
      // Environments before providers, everywhere: the order of locks that keeps two changes from waiting for each other.
      const intentRevisions = await bumpTenantIntentRevisions(transaction, tenantId)
      const found = await this.#options.providers.findLocked(transaction, providerId)
      const before = requireActive(must(found, `provider ${providerId} is never deleted`))
      const provider = await work(transaction, before)
      await this.#record(transaction, actor, action, before, provider)
      return { provider, intentRevisions }
    })
  }

  /** The provider, of a tenant in which the actor may write; refuses `not_found` for another's, exactly as for none. */
  async #requireWritable(actor: Actor, providerId: string): Promise<Provider> {
    const provider = await this.find(actor, providerId)
    if (provider === null) throwRefusal('not_found', 'no such provider', { field: 'providerId' })
    requirePermission(actor, 'provider.write', provider.tenantId)
    return requireActive(provider)
  }

  async #requirePermittedRegion(transaction: Transaction, providerId: string, region: string): Promise<void> {
    const routes = await this.#options.reader.findRoutesAt(transaction, providerId)
    const refusing = routes.find((route) => !route.permittedRegions.includes(region))
    if (refusing === undefined) return
    const { environmentName, name } = refusing
    throwRefusal(
      'bad_input',
      `input.region: ${region} is not permitted in ${environmentName}, where the route ${name} uses this provider`,
      { field: 'input.region' },
    )
  }

  #record(
    transaction: Transaction,
    actor: Actor,
    action: string,
    before: Provider | null,
    after: Provider,
  ): Promise<void> {
    return this.#options.audit.append(transaction, {
      ...{ actor, tenantId: after.tenantId, action, subjectKind: 'provider', subjectId: after.id },
      ...(before === null ? {} : { before: auditProvider(before) }),
      after: auditProvider(after),
    })
  }

  /** One transaction; wakes the reconciler after the commit. */
  async #change(work: (transaction: Transaction) => Promise<ProviderChange>): Promise<ProviderChange> {
    const { database, clock, bell } = this.#options
    try {
      const change = await database.transaction(new Date(clock.nowMs()), work)
      bell.ring()
      return change
    } catch (error) {
      if (isUniqueViolation(error)) {
        throwRefusal('conflict', 'input.name: the tenant has, or had, a provider of this name', { field: 'input.name' })
      }
      throw error
    }
  }
}

function requireActive(provider: Provider): Provider {
  if (provider.archivedAt === null) return provider
  throwRefusal('conflict', 'the provider is archived', { field: 'providerId' })
}

/** Each replica is shown the credential: one that was not a server of this provider before would harvest it. */
function requireKnownReplicas(before: Provider, replicaUrls: readonly string[]): void {
  const known = new Set([before.baseUrl, ...before.replicaUrls].map(originOf))
  const index = replicaUrls.findIndex((url) => !known.has(originOf(url)))
  if (index === -1) return
  const field = `input.replicaUrls[${index}]`
  throwRefusal('bad_input', `${field}: another server; give the credential again, or remove it first`, { field })
}

/** `moving`: the field by which another server was chosen, if one was. */
function requireSamePlace(
  before: Provider,
  after: Pick<ProviderFields, 'baseUrl' | 'vendorProject'>,
  moving: string,
): void {
  const isMoved = originOf(before.baseUrl) !== originOf(after.baseUrl)
  if (!isMoved && before.vendorProject === after.vendorProject) return
  const [field, what] = isMoved ? [moving, 'another server'] : ['input.vendorProject', 'another project']
  throwRefusal('bad_input', `${field}: ${what}; give the credential again, or remove it first`, { field })
}
