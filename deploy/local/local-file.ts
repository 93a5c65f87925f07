import { writeSecretFile } from './local-folder.js'

/** What `.switchyard/local.json` tells programs about the local installation. Demo credentials only; mode 0600. */
export interface LocalFile {
  /** GraphQL endpoint of the control plane. */
  readonly graphqlUrl: string
  /** The bootstrap token: may do everything. */
  readonly adminToken: string
  /** Origin of the agent; an OpenAI client's base URL is this and `/v1`. */
  readonly agentUrl: string
  readonly agentMetricsUrl: string
  /** A virtual key of the demo tenant. */
  readonly apiKey: string
  readonly tenantId: string
  readonly databaseUrl: string
  /** Null: BullMQ runs on Postgres. */
  readonly redisUrl: string | null
  readonly explorerUrl: string
  readonly controlPlaneMetricsUrl: string
  /** Null when a real upstream is used. */
  readonly simulatorUrl: string | null
  /** What to put into `model`. */
  readonly route: string
  readonly pids: Readonly<Record<string, number>>
}

export function writeLocalFile(path: string, facts: LocalFile): void {
  writeSecretFile(path, facts)
}
