import { createSign, createVerify, generateKeyPairSync, type KeyPairKeyObjectResult } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { AzureAmbient } from '../../../agent/src/providers/ambient.js'
import { type VendorAnswer, VendorFake, type VendorFault, type VendorRequest, writeJson } from './vendor-fake.js'

/**
 * Where Azure's access tokens come from: Entra ID's token endpoint and, at its own path, the instance metadata service of a
 * machine. Sources: Microsoft's documentation, "OAuth 2.0 client credentials flow on the Microsoft identity platform",
 * "Workload identity federation", "How to use managed identities for Azure resources on an Azure VM to acquire an access
 * token"; shapes as recorded from them. Scripts that are answers give a token; faults are told in the vendor's words.
 */
const jwtBearer = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const audience = 'https://cognitiveservices.azure.com'
const metadataPath = '/metadata/identity/oauth2/token'

export class EntraFake extends VendorFake {
  readonly kind = 'entra'
  readonly basePath = ''
  readonly tenantId = '8a1f3c5e-0000-4000-8000-000000000001'
  readonly clientId = '5d2b7a90-0000-4000-8000-000000000002'
  /** With characters that a form has to escape. */
  readonly clientSecret = 'a1B~c2+d3/e4=f5&g6'
  /** Lifetime of the tokens to come. */
  expiresInSeconds = 3_599
  readonly #issued = new Set<string>()
  #keys: KeyPairKeyObjectResult | null = null

  /** Whose signature Entra ID trusts; made when somebody needs it, for it takes its time. */
  get #platform(): KeyPairKeyObjectResult {
    this.#keys ??= generateKeyPairSync('rsa', { modulusLength: 2048 })
    return this.#keys
  }

  /** A provider's secret. */
  get secret(): string {
    const { tenantId, clientId, clientSecret, origin } = this
    return JSON.stringify({ tenantId, clientId, clientSecret, authorityHost: origin })
  }

  /** What the agent's settings say of a machine that finds everything here; with a slash, as platforms set it. */
  ambient(given: Partial<AzureAmbient> = {}): AzureAmbient {
    const { origin } = this
    const nowhere = { tenantId: '', clientId: '', federatedTokenFile: '' }
    return { ...nowhere, authorityHost: `${origin}/`, metadataHost: origin, ...given }
  }

  /** What a platform puts into a workload's token file: signed, and for Entra ID only. */
  federatedToken(): string {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const claims = {
      iss: 'https://oidc.example',
      sub: 'system:serviceaccount:switchyard:agent',
      aud: [assertionAudience],
    }
    const signed = `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}`
    const signature = createSign('RSA-SHA256').update(signed).sign(this.#platform.privateKey)
    return `${signed}.${signature.toString('base64url')}`
  }

  /** Whether it gave this token out. */
  issued(token: string): boolean {
    return this.#issued.has(token)
  }

  protected verify(request: VendorRequest): readonly string[] {
    const foreign = ['authorization', 'api-key'].filter((name) => request.headers[name] !== undefined)
    const problems = foreign.map((name) => `${name} does not belong here.`)
    const isMachine = request.path.startsWith(metadataPath)
    return [...problems, ...(isMachine ? verifyMachineCall(request) : this.#verifyTokenCall(request))]
  }

  protected async answer(request: VendorRequest, _script: VendorAnswer, response: ServerResponse): Promise<void> {
    const token = `eyJ0eXAiOiJKV1QifQ.${Buffer.from(`token ${this.#issued.size + 1}`).toString('base64url')}.c2ln`
    this.#issued.add(token)
    const expiresIn = this.expiresInSeconds
    if (request.path.startsWith(metadataPath)) {
      return writeJson(response, 200, {
        ...{ access_token: token, client_id: this.clientId, expires_in: String(expiresIn), expires_on: '1790000000' },
        ...{ ext_expires_in: '86399', not_before: '1789990000', resource: audience, token_type: 'Bearer' },
      })
    }
    writeJson(response, 200, {
      ...{ token_type: 'Bearer', expires_in: expiresIn, ext_expires_in: expiresIn, access_token: token },
    })
  }

  protected fault({ status, message }: VendorFault, response: ServerResponse): void {
    const code = Number(/AADSTS(\d+)/.exec(message)?.[1] ?? 0)
    const error = status === 401 ? 'invalid_client' : status < 429 ? 'invalid_request' : 'temporarily_unavailable'
    writeJson(response, status, {
      error,
      error_description: `${message} Trace ID: 255d1aef-8c98-452f-ac51-23d051240864 Timestamp: 2026-01-09 02:02:12Z`,
      ...{ error_codes: [code], timestamp: '2026-01-09 02:02:12Z', trace_id: '255d1aef-8c98-452f-ac51-23d051240864' },
      correlation_id: 'fb3d2015-bc17-4bb9-bb85-30c5cf1aaaa7',
      error_uri: `https://login.microsoftonline.com/error?code=${code}`,
    })
  }

  #verifyTokenCall({ method, path, headers, bytes }: VendorRequest): string[] {
    const problems: string[] = []
    if (method !== 'POST' || path !== `/${this.tenantId}/oauth2/v2.0/token`)
      problems.push(`${method} ${path}: not found.`)
    if (headers['content-type'] !== 'application/x-www-form-urlencoded') problems.push('AADSTS900144: no form.')
    const form = new URLSearchParams(bytes.toString('utf8'))
    const expected = { client_id: this.clientId, scope: `${audience}/.default`, grant_type: 'client_credentials' }
    for (const [name, value] of Object.entries(expected)) {
      if (form.get(name) !== value) problems.push(`${name} is ${form.get(name)}.`)
    }
    const proof = form.has('client_assertion') ? ['client_assertion_type', 'client_assertion'] : ['client_secret']
    const known = [...Object.keys(expected), ...proof]
    for (const name of form.keys()) if (!known.includes(name)) problems.push(`${name} is not known.`)
    if (form.has('client_assertion')) {
      if (form.get('client_assertion_type') !== jwtBearer) problems.push('client_assertion_type is wrong.')
      if (!this.#isSignedHere(form.get('client_assertion') ?? ''))
        problems.push('AADSTS50027: the assertion is not valid.')
    } else if (form.get('client_secret') !== this.clientSecret) problems.push('AADSTS7000215: Invalid client secret.')
    return problems
  }

  #isSignedHere(assertion: string): boolean {
    const [head = '', claims = '', signature = '', more] = assertion.split('.')
    if (more !== undefined) return false
    const { aud } = JSON.parse(Buffer.from(claims, 'base64url').toString() || '{}') as { aud?: string[] }
    const verifier = createVerify('RSA-SHA256').update(`${head}.${claims}`)
    return aud?.[0] === assertionAudience && verifier.verify(this.#platform.publicKey, signature, 'base64url')
  }
}

const assertionAudience = 'api://AzureADTokenExchange'

function verifyMachineCall({ method, path, headers, bytes }: VendorRequest): string[] {
  const problems: string[] = []
  const query = new URL(path, 'http://machine').searchParams
  if (method !== 'GET' || bytes.length > 0) problems.push('only GET, without a body.')
  if (headers['metadata'] !== 'true') problems.push('Required metadata header not specified.')
  if (headers['x-forwarded-for'] !== undefined) problems.push('not through a proxy.')
  if (query.get('api-version') !== '2018-02-01') problems.push(`api-version is ${query.get('api-version')}.`)
  if (query.get('resource') !== audience) problems.push(`resource is ${query.get('resource')}.`)
  for (const name of query.keys()) {
    if (!['api-version', 'resource', 'client_id'].includes(name)) problems.push(`${name} is not known.`)
  }
  return problems
}
