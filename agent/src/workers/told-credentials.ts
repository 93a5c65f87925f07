import type { VaultSecret } from '../config/credential-vault.js'
import type { CredentialReport, CredentialValue } from './messages.js'

/**
 * A request worker's view of the credential vault: values as the primary tells them, in memory only. What upstreams say of
 * them goes back once per change, not once per request: every worker knows which are rejected, so that whichever sees one
 * accepted again says so.
 */
export class ToldCredentials {
  readonly #values = new Map<string, VaultSecret>()
  readonly #rejected = new Set<string>()
  readonly #report: (credential: CredentialReport) => void

  constructor(report: (credential: CredentialReport) => void) {
    this.#report = report
  }

  get(credentialId: string, version: number): VaultSecret | null {
    return this.#values.get(keyOf(credentialId, version)) ?? null
  }

  reportRejected(credentialId: string, version: number): void {
    const key = keyOf(credentialId, version)
    if (this.#rejected.has(key) || !this.#values.has(key)) return
    this.#rejected.add(key)
    this.#report({ credentialId, version, rejected: true })
  }

  reportAccepted(credentialId: string, version: number): void {
    if (this.#rejected.size === 0 || !this.#rejected.delete(keyOf(credentialId, version))) return
    this.#report({ credentialId, version, rejected: false })
  }

  /** A new value has not been rejected by anybody yet. */
  take(values: readonly CredentialValue[]): void {
    for (const [credentialId, version, value] of values) {
      const key = keyOf(credentialId, version)
      if (value === null) this.#values.delete(key)
      else this.#values.set(key, value)
      this.#rejected.delete(key)
    }
  }

  /** Another worker saw it rejected, or accepted again. */
  learn({ credentialId, version, rejected }: CredentialReport): void {
    const key = keyOf(credentialId, version)
    if (rejected && this.#values.has(key)) this.#rejected.add(key)
    else this.#rejected.delete(key)
  }
}

const keyOf = (credentialId: string, version: number) => `${credentialId}@${version}`
