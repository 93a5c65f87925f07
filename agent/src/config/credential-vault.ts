import fs from 'node:fs/promises'
import path from 'node:path'
import type { CredentialEnvelope__Output } from '../../../proto/gen/switchyard/v1/CredentialEnvelope.js'
import type { TargetStatus } from '../../../proto/gen/switchyard/v1/TargetStatus.js'
import type { ProviderTable } from '../../../proto/policy/tables.js'
import { openSealed } from '../../../proto/snapshot/seal.js'
import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import type { StateFolder } from './state-folder.js'

/**
 * Provider credentials, open in memory only. What arrives is sealed to this agent, or is a reference to something on its own
 * machine; what lies on the disk stays sealed. `get` is memory: files are read in a loop of their own, never by a request.
 *
 * A reference may name only variables and folders that this agent's settings list. Who writes providers is a tenant; without
 * the list a tenant could send this process's own secrets to an upstream of its own.
 */
export interface VaultOptions {
  folder: StateFolder
  /** Whom envelopes are sealed to; `Identity` is one. */
  recipient: { readonly agentId: string; readonly sealingPrivateKey: Uint8Array }
  /** Variables that `env:` may name, with their values. */
  environment: ReadonlyMap<string, string>
  /** Absolute folders that `file:` may point into. */
  folders: readonly string[]
  /** Clouds whose identity of this machine `ambient:` may name. */
  ambient: readonly string[]
  /** How often referenced files are looked at. */
  filePollMs: number
  /** Told of every value that appears, changes or (null) goes: who serves in other processes needs it there. */
  onValue?: (credentialId: string, version: number, value: VaultSecret | null) => void
  clock: Clock
  log: Log
}

/** A text, or the identity of the machine; never the one for the other, whatever a text says. */
export type VaultSecret = string | { readonly ambient: 'aws' | 'azure' | 'google' }

export type CredentialReason = 'ok' | 'credential_missing' | 'credential_unreadable' | 'credential_rejected'

export class CredentialVault implements Service {
  readonly name = 'credential-vault'
  readonly #options: VaultOptions
  readonly #entries = new Map<string, Entry>()
  readonly #rejected = new Set<string>()
  /** By providers in effect. */
  #named = new Set<string>()
  readonly #stopping = new AbortController()
  #loop: Promise<void> | null = null

  constructor(options: VaultOptions) {
    this.#options = options
  }

  /** The secret, or null when it is not here (yet), not readable, or empty. */
  get(credentialId: string, version: number): VaultSecret | null {
    return this.#entries.get(keyOf(credentialId, version))?.value ?? null
  }

  /** Every value that there is. */
  *values(): Generator<[credentialId: string, version: number, value: VaultSecret]> {
    for (const { stored, value } of this.#entries.values()) {
      if (value !== null) yield [stored.credentialId, stored.version, value]
    }
  }

  /** An upstream said that this credential is not valid. Shown in the fleet; it is still tried, for upstreams err too. */
  reportRejected(credentialId: string, version: number): void {
    const key = keyOf(credentialId, version)
    if (this.#rejected.size >= entriesMax || this.#rejected.has(key)) return
    this.#rejected.add(key)
    this.#options.log.warn({ credentialId, version }, 'an upstream rejected this credential; it is still tried')
  }

  /** An upstream took it. */
  reportAccepted(credentialId: string, version: number): void {
    if (this.#rejected.size > 0) this.#rejected.delete(keyOf(credentialId, version))
  }

  /** What the request path would find for each provider. */
  status(providers: Iterable<ProviderTable>): TargetStatus[] {
    const statuses: TargetStatus[] = []
    for (const provider of providers) {
      const reason = this.#reasonOf(provider)
      statuses.push({ providerId: provider.id, ready: reason === 'ok' || reason === 'credential_rejected', reason })
    }
    return statuses
  }

  /** Reads the sealed envelopes that lie on the disk, then looks after referenced files until stopped. */
  async run(): Promise<void> {
    const bytes = await this.#options.folder.readSealed(fileName)
    if (bytes === 'unreadable') {
      this.#options.log.warn({}, 'the credentials on the disk cannot be opened; the control plane will send them again')
    } else if (bytes !== null) {
      for (const stored of JSON.parse(bytes.toString('utf8')) as StoredEnvelope[]) await this.#put(stored)
    }
    this.#loop = this.#watchFiles()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#loop
  }

  /** Takes what the control plane sent and keeps it, sealed. Nothing of it is logged. */
  async take(envelopes: readonly CredentialEnvelope__Output[]): Promise<void> {
    for (const envelope of envelopes) {
      const { credentialId, version } = envelope
      if (envelope.sealed !== undefined && envelope.sealed.length <= secretBytesMax + 1_024) {
        await this.#put({ credentialId, version, sealed: envelope.sealed.toString('base64') })
      } else if (envelope.reference !== undefined && envelope.reference.length <= referenceLengthMax) {
        await this.#put({ credentialId, version, reference: envelope.reference })
      } else {
        this.#options.log.warn({ credentialId, version }, 'a credential envelope that holds nothing usable')
      }
    }
    await this.#write()
  }

  /**
   * Forgets credentials that no provider in effect names any more; those that arrived or were named within the last hour
   * stay, for requests that began under older tables and for envelopes that came before their provider. What was in effect
   * until now was named until now, however long ago that came into effect.
   */
  async retain(providers: Iterable<ProviderTable>): Promise<void> {
    const now = this.#options.clock.nowMs()
    const before = this.#named
    this.#named = new Set()
    for (const { credential } of providers) {
      if (credential !== null) this.#named.add(keyOf(credential.id, credential.version))
    }
    for (const key of [...before, ...this.#named]) {
      const entry = this.#entries.get(key)
      if (entry !== undefined) entry.wantedAtMs = now
    }
    const stale = [...this.#entries].filter(([, entry]) => now - entry.wantedAtMs > unwantedKeptMs)
    for (const [key, entry] of stale) {
      this.#entries.delete(key)
      this.#rejected.delete(key)
      this.#tell(entry.stored, null)
    }
    if (stale.length > 0) await this.#write()
  }

  async #put(stored: StoredEnvelope): Promise<void> {
    const key = keyOf(stored.credentialId, stored.version)
    if (this.#entries.size >= entriesMax && !this.#entries.has(key)) {
      this.#options.log.warn({ entriesMax }, 'too many credentials; the oldest is forgotten')
      for (const [oldest, { stored: forgotten }] of this.#entries) {
        this.#entries.delete(oldest)
        this.#tell(forgotten, null)
        break
      }
    }
    const entry: Entry = { stored, value: null, unreadable: null, stamp: '', wantedAtMs: this.#options.clock.nowMs() }
    await this.#resolve(entry)
    const before = this.#entries.get(key)?.value ?? null
    this.#entries.set(key, entry)
    this.#rejected.delete(key)
    if (before !== null && entry.value === null) this.#tell(stored, null)
  }

  #tell({ credentialId, version }: StoredEnvelope, value: VaultSecret | null): void {
    this.#options.onValue?.(credentialId, version, value)
  }

  async #resolve(entry: Entry): Promise<void> {
    const { sealed, reference } = entry.stored
    if (sealed !== undefined) this.#settle(entry, this.#openSealed(entry.stored, sealed))
    else if (reference?.startsWith('env:')) this.#settle(entry, this.#fromEnvironment(reference.slice(4)))
    else if (reference?.startsWith('file:')) await this.#fromFile(entry, reference.slice(5))
    else if (reference?.startsWith('ambient:')) this.#settle(entry, this.#ambient(reference.slice(8)))
    else this.#settle(entry, { fault: 'a reference is env:NAME, file:/path or ambient:CLOUD' })
  }

  #settle(entry: Entry, result: { value: VaultSecret } | { fault: string }): void {
    const fault = 'fault' in result ? result.fault : null
    const before = entry.value
    entry.value = 'value' in result ? result.value : null
    if (entry.value !== before) this.#tell(entry.stored, entry.value)
    if (fault !== null && fault !== entry.unreadable) {
      const { credentialId, version } = entry.stored
      this.#options.log.warn({ credentialId, version, reason: fault }, 'a credential cannot be read')
    }
    entry.unreadable = fault
  }

  #openSealed(stored: StoredEnvelope, sealed: string): { value: VaultSecret } | { fault: string } {
    const { agentId, sealingPrivateKey } = this.#options.recipient
    const opened = openSealed({
      sealed: Buffer.from(sealed, 'base64'),
      recipientPrivateKey: sealingPrivateKey,
      context: { agentId, credentialId: stored.credentialId, version: stored.version },
    })
    return opened === null ? { fault: 'not sealed to this agent, or damaged' } : secretIn(opened)
  }

  #fromEnvironment(name: string): { value: VaultSecret } | { fault: string } {
    const value = this.#options.environment.get(name)
    return value === undefined
      ? { fault: `variable ${name} is not set, or not listed in SWITCHYARD_AGENT_CREDENTIAL_VARIABLES` }
      : secretIn(Buffer.from(value))
  }

  #ambient(cloud: string): { value: VaultSecret } | { fault: string } {
    if ((cloud === 'aws' || cloud === 'azure' || cloud === 'google') && this.#options.ambient.includes(cloud)) {
      return { value: { ambient: cloud } }
    }
    return { fault: `${cloud} is not listed in SWITCHYARD_AGENT_AMBIENT_CREDENTIALS` }
  }

  /** Reads the file if it is not the one read last. Links are followed first, and where they end must be permitted. */
  async #fromFile(entry: Entry, file: string): Promise<void> {
    try {
      const real = await fs.realpath(file)
      if (!(await this.#isPermitted(real))) {
        this.#settle(entry, { fault: `${file} is outside SWITCHYARD_AGENT_CREDENTIAL_FOLDERS` })
        return
      }
      const stat = await fs.stat(real)
      const stamp = `${real} ${stat.ino} ${stat.size} ${stat.mtimeMs}`
      if (stamp === entry.stamp) return
      if (!stat.isFile() || stat.size > secretBytesMax) {
        this.#settle(entry, { fault: `${file} is not a file of at most ${secretBytesMax} bytes` })
      } else {
        this.#settle(entry, secretIn(await fs.readFile(real)))
      }
      entry.stamp = stamp
    } catch (fault) {
      entry.stamp = ''
      this.#settle(entry, { fault: `${file}: ${(fault as NodeJS.ErrnoException).code ?? 'cannot be read'}` })
    }
  }

  async #isPermitted(real: string): Promise<boolean> {
    for (const folder of this.#options.folders) {
      const permitted = await fs.realpath(folder).catch(() => null)
      if (permitted !== null && real.startsWith(permitted.endsWith(path.sep) ? permitted : permitted + path.sep))
        return true
    }
    return false
  }

  async #watchFiles(): Promise<void> {
    const { clock, filePollMs } = this.#options
    const { signal } = this.#stopping
    while (!signal.aborted) {
      await clock.sleep(filePollMs, signal).catch(() => {})
      for (const entry of this.#entries.values()) {
        if (!signal.aborted && entry.stored.reference?.startsWith('file:')) await this.#resolve(entry)
      }
    }
  }

  #reasonOf(provider: ProviderTable): CredentialReason {
    if (provider.credential === null) return 'ok'
    const key = keyOf(provider.credential.id, provider.credential.version)
    const entry = this.#entries.get(key)
    if (entry === undefined) return 'credential_missing'
    if (entry.value === null) return 'credential_unreadable'
    return this.#rejected.has(key) ? 'credential_rejected' : 'ok'
  }

  async #write(): Promise<void> {
    const stored = [...this.#entries.values()].map((entry) => entry.stored)
    try {
      await this.#options.folder.writeSealed(fileName, Buffer.from(JSON.stringify(stored)))
    } catch (fault) {
      this.#options.log.warn({ fault: String(fault) }, 'sealed credentials could not be kept on the disk')
    }
  }
}

const fileName = 'credentials'
const entriesMax = 10_000
const secretBytesMax = 16 * 1024
const referenceLengthMax = 4_096
const unwantedKeptMs = 3_600_000

interface StoredEnvelope {
  credentialId: string
  version: number
  /** Base64; still sealed. */
  sealed?: string
  reference?: string
}

interface Entry {
  readonly stored: StoredEnvelope
  value: VaultSecret | null
  /** Why there is no value. */
  unreadable: string | null
  /** Which file was read. */
  stamp: string
  wantedAtMs: number
}

const keyOf = (credentialId: string, version: number) => `${credentialId}@${version}`

/** Files often end in a line break that nobody meant; anything else that a header cannot carry is refused here. */
function secretIn(bytes: Buffer): { value: VaultSecret } | { fault: string } {
  const text = oneLine(bytes.toString('utf8').replace(/[\r\n]+$/, ''))
  if (text === '') return { fault: 'empty' }
  return /^[\x20-\x7e]+$/.test(text) ? { value: text } : { fault: 'holds characters that a header cannot carry' }
}

/** Service accounts come as JSON of many lines; only what they say counts. */
function oneLine(text: string): string {
  if (!text.startsWith('{')) return text
  try {
    return JSON.stringify(JSON.parse(text))
  } catch {
    return text
  }
}
