import { createHash, timingSafeEqual } from 'node:crypto'
import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose'
import type { Clock } from '../../../proto/std/clock.js'
import { isRefusal, type Refusal, refuse } from '../../../proto/std/refusal.js'
import { type Principal, type Role, roles } from './principal.js'
import { isKeyFetchFault, PublishedKeys, type PublishedKeysOptions } from './published-keys.js'

/** Why somebody was not let in; also the label of the metric. */
export type AuthenticationFailure =
  | 'missing'
  | 'malformed'
  | 'algorithm'
  | 'unknown_key'
  | 'bad_signature'
  | 'expired'
  | 'not_yet_valid'
  | 'claims'
  | 'no_tenant'
  | 'unknown_tenant'
  | 'not_a_member'
  | 'disabled_member'
  | 'keys_unavailable'

/** What the record knows of a token's tenant and subject; null: no such tenant. */
export interface Standing {
  readonly tenantId: string
  readonly archived: boolean
  /** Null: not a member. */
  readonly member: { readonly roles: readonly string[]; readonly disabled: boolean } | null
}

export interface AuthenticatorOptions {
  /** Null: none is accepted. */
  readonly adminToken: string | null
  /** HS256, for local use. Null: none is accepted. */
  readonly hs256Secret: string | null
  /** Where RS, PS, ES and EdDSA keys are published. Null: none is accepted. */
  readonly jwksUrl: string | null
  /** Least time between two fetches of the key set, so that tokens with made-up key ids cannot make us a client of theirs. */
  readonly jwksCooldownMs: number
  readonly jwksTimeoutMs: number
  /** How long a fetched key set is used before it is fetched again. */
  readonly jwksAgeMsMax: number
  /** How long the last key set goes on being used while it cannot be fetched again. */
  readonly jwksOutageMsMax: number
  readonly onJwksOutage: PublishedKeysOptions['onOutage']
  readonly issuer: string | null
  readonly audience: string | null
  readonly clockSkewSeconds: number
  /** Name of the claim, or a dotted path to it, that carries the tenant (id or slug) and the roles. */
  readonly tenantClaim: string
  readonly rolesClaim: string
  readonly standing: (tenant: string, subject: string) => Promise<Standing | null>
  readonly clock: Clock
  readonly onFailure: (reason: AuthenticationFailure) => void
}

const tokenLengthMax = 16_384
/** The same whatever was sent and whatever is configured, so it tells nothing about the secret. */
const notAToken =
  'this is neither the bootstrap token (SWITCHYARD_ADMIN_TOKEN of the control plane) nor a JWT of your identity provider'
const asymmetric = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']

/**
 * Tells who asks, by the bootstrap admin token or a JWT. The algorithm decides which key may verify: a token that names
 * HS256 is never checked against a published key. Roles come from the token's claim when it has one, else from the member
 * row; a disabled member is refused whatever its token says; `platform-admin` counts only in a token without a tenant.
 */
export class Authenticator {
  readonly #options: AuthenticatorOptions
  readonly #adminTokenHash: Buffer | null
  readonly #secret: Uint8Array | null
  readonly #published: PublishedKeys | null

  constructor(options: AuthenticatorOptions) {
    this.#options = options
    this.#adminTokenHash = options.adminToken === null ? null : sha256(options.adminToken)
    this.#secret = options.hs256Secret === null ? null : new TextEncoder().encode(options.hs256Secret)
    this.#published =
      options.jwksUrl === null
        ? null
        : new PublishedKeys({
            url: options.jwksUrl,
            cooldownMs: options.jwksCooldownMs,
            timeoutMs: options.jwksTimeoutMs,
            ageMsMax: options.jwksAgeMsMax,
            outageMsMax: options.jwksOutageMsMax,
            clock: options.clock,
            onOutage: options.onJwksOutage,
          })
  }

  /** The principal of an `Authorization` header, or why not: code `unauthenticated` (or `unavailable`), `detail.reason`. */
  async authenticate(header: string | undefined): Promise<Principal | Refusal> {
    const outcome = await this.#judge(header)
    if (isRefusal(outcome)) this.#options.onFailure(outcome.detail?.['reason'] as AuthenticationFailure)
    return outcome
  }

  async #judge(header: string | undefined): Promise<Principal | Refusal> {
    if (header === undefined || header === '')
      return failure('missing', 'send the header Authorization: Bearer <token>')
    const token = /^Bearer +([^\s]+) *$/i.exec(header)?.[1]
    if (token === undefined || token.length > tokenLengthMax) {
      return failure('malformed', 'the Authorization header is not of the form Bearer <token>')
    }
    if (this.#isAdminToken(token)) {
      return { subject: 'bootstrap', kind: 'bootstrap', tenantId: null, roles: new Set<Role>(['platform-admin']) }
    }
    const claims = await this.#verify(token)
    return isRefusal(claims) ? claims : this.#principalOf(claims)
  }

  /** Constant time: hashes of equal length are compared, whatever was sent. */
  #isAdminToken(token: string): boolean {
    return this.#adminTokenHash !== null && timingSafeEqual(sha256(token), this.#adminTokenHash)
  }

  async #verify(token: string): Promise<JWTPayload | Refusal> {
    const { clock, clockSkewSeconds, issuer, audience } = this.#options
    const claims = {
      currentDate: new Date(clock.nowMs()),
      clockTolerance: clockSkewSeconds,
      requiredClaims: ['exp', 'sub'],
      ...(issuer === null ? {} : { issuer }),
      ...(audience === null ? {} : { audience }),
    }
    try {
      const { alg } = decodeProtectedHeader(token)
      if (alg === 'HS256' && this.#secret !== null) {
        return (await jwtVerify(token, this.#secret, { ...claims, algorithms: ['HS256'] })).payload
      }
      if (alg !== undefined && asymmetric.includes(alg) && this.#published !== null) {
        return (await jwtVerify(token, this.#published.get, { ...claims, algorithms: asymmetric })).payload
      }
      return failure('algorithm', 'tokens with this signature algorithm are not accepted here')
    } catch (error) {
      return verificationFailure(error)
    }
  }

  async #principalOf(claims: JWTPayload): Promise<Principal | Refusal> {
    const { tenantClaim, rolesClaim, standing } = this.#options
    const subject = claims.sub
    if (typeof subject !== 'string' || subject === '' || subject.length > 255) {
      return failure('claims', 'the token has no usable sub')
    }
    const tenant = claimOf(claims, tenantClaim)
    const claimed = rolesOfClaim(claimOf(claims, rolesClaim))
    if (tenant === undefined || tenant === null || tenant === '') {
      if (!claimed?.includes('platform-admin')) {
        return failure('no_tenant', `the token names no tenant (claim ${tenantClaim}) and no platform-admin role`)
      }
      return { subject, kind: 'token', tenantId: null, roles: new Set<Role>(['platform-admin']) }
    }
    if (typeof tenant !== 'string' || tenant.length > 100) {
      return failure('claims', `the claim ${tenantClaim} is not a tenant's id or slug`)
    }
    const known = await standing(tenant, subject)
    if (known === null || known.archived) return failure('unknown_tenant', 'the tenant of the token is not served here')
    if (known.member?.disabled)
      return failure('disabled_member', 'this membership is disabled; ask an admin of the tenant')
    if (claimed === null && known.member === null) {
      return failure('not_a_member', `the token carries no roles (claim ${rolesClaim}) and its subject is no member`)
    }
    const held = rolesOf(claimed ?? known.member?.roles ?? []).filter((role) => role !== 'platform-admin')
    return { subject, kind: 'token', tenantId: known.tenantId, roles: new Set(held) }
  }
}

function failure(reason: AuthenticationFailure, message: string): Refusal {
  return refuse(reason === 'keys_unavailable' ? 'unavailable' : 'unauthenticated', message, { detail: { reason } })
}

function verificationFailure(error: unknown): Refusal {
  if (error instanceof errors.JWTExpired) return failure('expired', 'the token has expired')
  if (error instanceof errors.JWTClaimValidationFailed) {
    return error.claim === 'nbf' || error.claim === 'iat'
      ? failure('not_yet_valid', 'the token is not valid yet')
      : failure('claims', `the token's claim ${error.claim} is not as expected`)
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return failure('bad_signature', "the token's signature is not ours")
  }
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) {
    return failure('unknown_key', 'the token is signed with a key that is not published')
  }
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported) {
    return failure('algorithm', 'tokens with this signature algorithm are not accepted here')
  }
  if (error instanceof errors.JWTInvalid || error instanceof errors.JWSInvalid) return failure('malformed', notAToken)
  if (isKeyFetchFault(error))
    return failure('keys_unavailable', 'the keys that tokens are checked with cannot be fetched right now')
  return failure('malformed', notAToken)
}

/** By its exact name (which may hold dots, as in `https://example.com/tenant`), else as a path of names. */
function claimOf(claims: JWTPayload, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name]
  let value: unknown = claims
  for (const part of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    value = (value as Record<string, unknown>)[part]
  }
  return value
}

/** A list, or a text with commas or spaces; null: the token says nothing about roles. */
function rolesOfClaim(value: unknown): readonly string[] | null {
  if (value === undefined || value === null) return null
  if (Array.isArray(value)) return value.filter((role) => typeof role === 'string')
  return typeof value === 'string' ? value.split(/[\s,]+/).filter((role) => role !== '') : []
}

function rolesOf(names: readonly string[]): readonly Role[] {
  return roles.filter((role) => names.includes(role))
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
