import { generateKeyPairSync, type KeyObject, verify } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { writeJson } from './vendor-fake.js'

/**
 * Google's token endpoint and a machine's metadata server. Sources: Google Identity's documentation, "Using OAuth 2.0 for
 * Server to Server Applications"; Google Cloud's documentation, "About VM metadata". Assertions are verified with
 * `node:crypto` alone, not with the library that signs them.
 */
const clientEmail = 'gateway@acme-prod-1.iam.gserviceaccount.com'
const keyId = '0f3a5e1c9d7b42e8a6c1'
const scope = 'https://www.googleapis.com/auth/cloud-platform'
const grantType = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const metadataPath = '/computeMetadata/v1/instance/service-accounts/default/token'

let keys: { readonly publicKey: KeyObject; readonly privateKeyPem: string } | null = null

/** Made once: it takes a second. */
function keyPair() {
  if (keys === null) {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    keys = { publicKey, privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
  }
  return keys
}

export interface IdentityRefusal {
  readonly status: number
  readonly body: object
}

export class GoogleIdentityFake {
  readonly problems: string[]
  /** Assertions that were exchanged, and times that the metadata server was asked. */
  exchangeCount = 0
  metadataCount = 0
  /** Of the tokens issued from now on. */
  expiresInSeconds = 3_599
  /** Answered instead of a token, while it is set. */
  refusal: IdentityRefusal | null = null
  /** Whatever is asked waits for it. */
  gate: Promise<void> = Promise.resolve()
  readonly #issued = new Set<string>()
  readonly #server: Server

  constructor(problems: string[]) {
    this.problems = problems
    this.#server = createServer((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => {
        body += chunk.toString()
      })
      request.on('end', () => {
        void this.gate.then(() => this.#serve(request, body, response))
      })
    })
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** As Google gives it. */
  get serviceAccountText(): string {
    return JSON.stringify({
      type: 'service_account',
      project_id: 'acme-prod-1',
      private_key_id: keyId,
      private_key: keyPair().privateKeyPem,
      client_email: clientEmail,
      client_id: '104873920183',
      auth_uri: 'https://accounts.google.com/o/oauth2/auth',
      token_uri: `${this.origin}/token`,
    })
  }

  isIssued(token: string): boolean {
    return this.#issued.has(token)
  }

  #serve(request: IncomingMessage, body: string, response: ServerResponse) {
    const { method, url, headers } = request
    if (method === 'POST' && url === '/token') return this.#exchange(headers['content-type'], body, response)
    if (method === 'GET' && url === metadataPath) return this.#tellMachine(headers['metadata-flavor'], response)
    this.problems.push(`${method} ${url} is not found at Google's identity services.`)
    writeJson(response, 404, { error: 'not_found' })
  }

  #exchange(contentType: string | undefined, body: string, response: ServerResponse) {
    this.exchangeCount += 1
    const form = new URLSearchParams(body)
    const problems: string[] = []
    if (contentType !== 'application/x-www-form-urlencoded') problems.push('the exchange is no form.')
    for (const name of form.keys()) {
      if (name !== 'grant_type' && name !== 'assertion') problems.push(`${name} is not known to the exchange.`)
    }
    if (form.get('grant_type') !== grantType) problems.push('grant_type is wrong.')
    problems.push(...this.#problemsOf(form.get('assertion') ?? ''))
    this.problems.push(...problems)
    if (problems.length > 0) {
      return writeJson(response, 400, { error: 'invalid_grant', error_description: problems.join(' ') })
    }
    this.#issue('ya29.c.exchanged', this.exchangeCount, response)
  }

  #problemsOf(assertion: string): string[] {
    const [head = '', claims = '', signature = ''] = assertion.split('.')
    const problems: string[] = []
    const signed = Buffer.from(`${head}.${claims}`)
    if (!verify('RSA-SHA256', signed, keyPair().publicKey, Buffer.from(signature, 'base64url'))) {
      return ['Invalid JWT Signature.']
    }
    const header = decoded(head)
    const claim = decoded(claims)
    if (header['alg'] !== 'RS256' || header['typ'] !== 'JWT') problems.push('the header is not RS256 and JWT.')
    if (header['kid'] !== keyId) problems.push('kid is not the key’s.')
    if (claim['iss'] !== clientEmail) problems.push('iss is not the account.')
    if (claim['aud'] !== `${this.origin}/token`) problems.push('aud is not the token endpoint.')
    if (claim['scope'] !== scope) problems.push('scope is not cloud-platform.')
    const [issuedAt, expiresAt] = [Number(claim['iat']), Number(claim['exp'])]
    if (!(expiresAt > issuedAt && expiresAt - issuedAt <= 3_600)) problems.push('exp is not within an hour of iat.')
    const known = ['iss', 'aud', 'scope', 'iat', 'exp']
    for (const name of Object.keys(claim)) if (!known.includes(name)) problems.push(`${name} is no claim of it.`)
    return problems
  }

  #tellMachine(flavor: string | string[] | undefined, response: ServerResponse) {
    this.metadataCount += 1
    if (flavor !== 'Google') {
      this.problems.push('Metadata-Flavor: Google is missing.')
      return writeJson(response, 403, { error: 'forbidden' })
    }
    this.#issue('ya29.d.machine', this.metadataCount, response)
  }

  #issue(prefix: string, count: number, response: ServerResponse) {
    const headers = { 'metadata-flavor': 'Google' }
    if (this.refusal !== null) return writeJson(response, this.refusal.status, this.refusal.body, headers)
    const token = `${prefix}${count}_${'x'.repeat(40)}....`
    this.#issued.add(token)
    writeJson(response, 200, { access_token: token, expires_in: this.expiresInSeconds, token_type: 'Bearer' }, headers)
  }
}

function decoded(part: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(part, 'base64url').toString('utf8')) as Record<string, unknown>
}
