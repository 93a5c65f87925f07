import { createClient, everyNode, type SwitchyardClient } from '../client.js'
import { CliFault, type CliSettings, readCliSettings } from './settings.js'

export interface GlobalOptions {
  url?: string
  token?: string
  tenant?: string
  json?: boolean
}

/** What every command works with: a client, whose tenant is meant, and how to print. */
export class Session {
  readonly client: SwitchyardClient
  readonly settings: CliSettings
  readonly #options: GlobalOptions
  readonly #write: (text: string) => void
  /** Milliseconds since 1970. */
  readonly nowMs: () => number

  constructor(options: GlobalOptions, write: (text: string) => void, nowMs: () => number) {
    this.#options = options
    this.#write = write
    this.nowMs = nowMs
    this.settings = readCliSettings(options)
    this.client = createClient({ url: this.settings.url, token: this.settings.token })
  }

  /** `json` when asked for, else `text()`. */
  print(json: unknown, text: () => string): void {
    this.#write(this.#options.json ? `${JSON.stringify(json, null, 2)}\n` : text())
  }

  /** The tenant that is meant: named by slug or id, the caller's own, the local demo's, or the only one there is. */
  async fetchTenantId(): Promise<string> {
    const { tenant } = this.#options
    if (tenant === undefined) {
      const { viewer } = await this.client.viewer()
      if (viewer.tenantId !== null) return viewer.tenantId
      if (this.settings.tenantId !== null) return this.settings.tenantId
    }
    const tenants = []
    for await (const node of everyNode(async (after) => (await this.client.tenants({ after })).tenants))
      tenants.push(node)
    const [only] = tenants
    if (tenant === undefined && tenants.length === 1 && only) return only.id
    const found = tenants.find(({ id, slug }) => id === tenant || slug === tenant)
    if (found) return found.id
    const names = tenants.map(({ slug }) => slug).join(', ') || 'none'
    throw new CliFault(
      tenant === undefined ? `name the tenant: --tenant NAME (${names})` : `no tenant ${tenant}; there are: ${names}`,
    )
  }

  /** An environment of the tenant by name or id; without a name the only one, else `production`. */
  async fetchEnvironmentId(tenantId: string, name: string | undefined): Promise<string> {
    const environments = (await this.#fetchEnvironments(tenantId)).filter(({ archivedAt }) => archivedAt === null)
    const [only] = environments
    const found =
      name === undefined && environments.length === 1
        ? only
        : environments.find((one) => one.id === name || one.name === (name ?? 'production'))
    if (found) return found.id
    const names = environments.map((one) => one.name).join(', ') || 'none'
    throw new CliFault(
      name === undefined
        ? `name the environment: --environment NAME (${names})`
        : `no environment ${name}; there are: ${names}`,
    )
  }

  /** By id, archived ones too. */
  async fetchEnvironmentNames(tenantId: string): Promise<ReadonlyMap<string, string>> {
    return new Map((await this.#fetchEnvironments(tenantId)).map(({ id, name }) => [id, name]))
  }

  async #fetchEnvironments(tenantId: string) {
    const environments = []
    for await (const node of everyNode(
      async (after) => (await this.client.environments({ tenantId, after })).environments,
    ))
      environments.push(node)
    return environments
  }
}
