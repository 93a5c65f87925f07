import type { VaultSecret } from '../config/credential-vault.js'
import type { ReplicaTelling } from '../replicas/replica-telling.js'
import type { AgentSettings } from '../settings.js'
import type { LaneOrder } from '../usage/lane-telling.js'
import type { SpoolClass } from '../usage/segment.js'
import type { LaneTellings } from '../usage/worker-spool.js'
import type { TablesParcel } from './tables-parcel.js'

/**
 * What primary and request workers say to each other, over the channel of the fork: structured clones, in order, between
 * processes of one release on one machine, so that there is nothing to negotiate. Secrets travel here and nowhere else.
 */
export type ToWorker =
  /** The first message: who the worker is. Followed by credentials, by tables if there are any, and by `serve`. */
  | { readonly kind: 'begin'; readonly begin: WorkerBeginning }
  | { readonly kind: 'credentials'; readonly values: readonly CredentialValue[] }
  | { readonly kind: 'tables'; readonly parcel: TablesParcel }
  /** Open the door for clients, once every parcel before has been applied. */
  | { readonly kind: 'serve' }
  | { readonly kind: 'others'; readonly use: OthersTelling }
  /** Of providers with several replicas: what the other workers sent where, and what they have running. */
  | { readonly kind: 'replicas'; readonly telling: ReplicaTelling }
  | { readonly kind: 'accepting'; readonly accepting: boolean }
  | { readonly kind: 'lane'; readonly of: SpoolClass; readonly order: LaneOrder }
  | { readonly kind: 'rejected'; readonly credential: CredentialReport }
  | { readonly kind: 'scrape'; readonly number: number }
  /** Refuse new requests, let running ones end; answered by `drained`. */
  | { readonly kind: 'drain'; readonly deadlineMs: number }
  /** End at once, with sealed lanes. */
  | { readonly kind: 'stop' }

export type ToPrimary =
  /** Listening to what comes. */
  | { readonly kind: 'up' }
  | { readonly kind: 'applied'; readonly number: number }
  | { readonly kind: 'serving'; readonly host: string; readonly port: number }
  /** It cannot serve and says why; it ends. */
  | { readonly kind: 'failed'; readonly code: string; readonly message: string }
  | { readonly kind: 'lanes'; readonly tellings: LaneTellings }
  /** Also the sign of life: once a second at least. */
  | { readonly kind: 'use'; readonly use: UseTelling }
  | { readonly kind: 'replicas'; readonly telling: ReplicaTelling }
  | { readonly kind: 'rejected'; readonly credential: CredentialReport }
  | { readonly kind: 'scraped'; readonly number: number; readonly text: string }
  | { readonly kind: 'drained' }

export interface WorkerBeginning {
  /** From 0. */
  readonly index: number
  readonly count: number
  readonly settings: WorkerSettings
  /** PEM texts of the door. */
  readonly tls: { readonly cert: string; readonly key: string } | null
  readonly spoolDirectory: string
  readonly bootEpoch: number
  readonly accepting: boolean
  /** Under which beginnings of prompts are named: the same in all workers of an agent. */
  readonly prefixKey: Uint32Array
}

/** All but what only the primary needs: how to enrol, what opens the state folder, variables that credentials name. */
export type WorkerSettings = Omit<
  AgentSettings,
  'joinToken' | 'stateKey' | 'credentialEnvironment' | 'variablesKeptBack'
>

/** Null: there is no value any more. */
export type CredentialValue = readonly [credentialId: string, version: number, value: VaultSecret | null]

export interface CredentialReport {
  readonly credentialId: string
  readonly version: number
  /** An upstream said that it is not valid; false: one took it again. */
  readonly rejected: boolean
}

/** What a worker has running now, and what its keys took since the last telling. */
export interface UseTelling {
  readonly connections: number
  readonly inFlight: number
  readonly keys: readonly (readonly [apiKeyId: string, running: number, takes: number])[]
}

/** What the other workers together have running, and took within the last minute, as far as it is known. */
export interface OthersTelling {
  readonly connections: number
  readonly inFlight: number
  /** Keys of which something changed. */
  readonly keys: readonly (readonly [apiKeyId: string, running: number, takes: number])[]
}
