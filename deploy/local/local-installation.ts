import { randomBytes } from 'node:crypto'
import { existsSync, rmSync } from 'node:fs'
import path from 'node:path'
import { must } from '../../proto/std/assert.js'
import type { Clock } from '../../proto/std/clock.js'
import { throwRefusal } from '../../proto/std/refusal.js'
import type { Service } from '../../proto/std/service.js'
import { BoundedLog } from './bounded-log.js'
import { removeEmbeddedPostgres } from './embedded-postgres.js'
import { type GraphqlCall, graphqlCall } from './graphql-call.js'
import { type LocalFile, writeLocalFile } from './local-file.js'
import { type LocalFolder, readJsonFile, writeSecretFile } from './local-folder.js'
import { type LocalPorts, localPorts, requireFreePorts } from './local-ports.js'
import type { Progress } from './progress.js'
import { awaitDelivery, createJoinToken, type DemoSeed, seedDemo } from './seed-demo.js'
import { SupervisedPostgres } from './supervised-postgres.js'
import { SupervisedProcess } from './supervised-process.js'
import { fetchUpstream, simulatorUpstream } from './upstream.js'

/** What `npm start` was told; start.mjs has checked it. */
export interface StartOptions {
  /** Of the source tree. */
  readonly root: string
  readonly folder: string
  readonly portBase: number
  readonly fresh: boolean
  /** `openai`, a base URL, or null for the simulator. */
  readonly upstream: string | null
  readonly model: string | null
}

/** Secrets of this installation, made at the first start. Lost together with the data they protect. */
interface LocalState {
  readonly version: 1
  readonly adminToken: string
  /** 32 bytes, base64: seals credentials and keys in the database. */
  readonly wrapKey: string
  readonly jwtSecret: string
  readonly demo: DemoSeed | null
}

export type Environment = Readonly<Record<string, string | undefined>>

export interface LocalInstallationOptions {
  options: StartOptions
  folder: LocalFolder
  environment: Environment
  clock: Clock
  progress: Progress
}

/**
 * Everything that `npm start` runs, started in order and stopped in reverse: PostgreSQL, control plane, simulator, agent.
 * Each is a process of its own and is started again when it dies; the agent enrols with a join token as any agent would.
 */
export class LocalInstallation {
  readonly #options: StartOptions
  readonly #folder: LocalFolder
  readonly #environment: Environment
  readonly #clock: Clock
  readonly #progress: Progress
  readonly #ports: LocalPorts
  readonly #started: Service[] = []
  readonly #logs: BoundedLog[] = []
  #starting: Promise<LocalFile> | null = null
  #stopping = false
  #facts: LocalFile | null = null

  constructor(options: LocalInstallationOptions) {
    this.#options = options.options
    this.#folder = options.folder
    this.#environment = options.environment
    this.#clock = options.clock
    this.#progress = options.progress
    this.#ports = localPorts(options.options.portBase)
  }

  /** Returns once a request through the agent would be answered. Refuses (`RefusalError`) with what to do. */
  start(): Promise<LocalFile> {
    const starting = this.#start()
    this.#starting = starting
    return starting
  }

  /** Ends everything that was started, the agent first: it delivers what it knows while the control plane still listens. */
  async stop(): Promise<void> {
    this.#stopping = true
    await this.#stopStarted()
    // A start that was under way fails now; what it had begun meanwhile ends too.
    await this.#starting?.catch(() => {})
    await this.#stopStarted()
    for (const log of this.#logs.splice(0)) log.close()
    // Not when the start was refused before it began: then the file is of the start that has the folder.
    if (this.#starting !== null) rmSync(this.#folder.localFile, { force: true })
  }

  async #start(): Promise<LocalFile> {
    const { fresh, upstream } = this.#options
    const databaseUrl = this.#environment['DATABASE_URL'] || null
    if (fresh) await this.#removeData(databaseUrl)
    await requireFreePorts(this.#ports)
    const state = this.#loadState(databaseUrl)

    const database = databaseUrl ?? (await this.#startPostgres())
    const graphqlUrl = `http://127.0.0.1:${this.#ports.http}/graphql`
    const call = graphqlCall(graphqlUrl, state.adminToken)
    const [, upstreamUsed] = await Promise.all([
      this.#progress.step('starting the control plane', () => this.#startControlPlane(state, database, call)),
      upstream === null
        ? this.#progress.step('starting the simulator', () => this.#startSimulator())
        : fetchUpstream({ upstream, model: this.#options.model, environment: this.#environment }),
    ])
    const demo = await this.#progress.step('preparing the demo tenant', () => seedDemo(call, upstreamUsed, state.demo))
    writeSecretFile(this.#folder.stateFile, { ...state, demo })
    const joinToken = await createJoinToken(call, demo.clusterId)
    await this.#progress.step('starting the agent', async () => {
      await this.#startAgent(joinToken)
      await awaitDelivery(call, demo.environmentId, this.#clock)
    })

    const facts: LocalFile = {
      graphqlUrl,
      adminToken: state.adminToken,
      agentUrl: `http://127.0.0.1:${this.#ports.agent}`,
      agentMetricsUrl: `http://127.0.0.1:${this.#ports.agentMetrics}/metrics`,
      apiKey: demo.apiKey,
      tenantId: demo.tenantId,
      databaseUrl: database,
      redisUrl: this.#environment['REDIS_URL'] || null,
      explorerUrl: `http://127.0.0.1:${this.#ports.http}/explorer`,
      controlPlaneMetricsUrl: `http://127.0.0.1:${this.#ports.controlPlaneMetrics}/metrics`,
      simulatorUrl: upstream === null ? `http://127.0.0.1:${this.#ports.simulator}` : null,
      route: must(upstreamUsed.models[0], 'an upstream has a model').route,
      pids: {},
    }
    this.#facts = facts
    this.#writeFacts()
    return facts
  }

  async #stopStarted(): Promise<void> {
    for (const service of this.#started.splice(0).reverse()) {
      await service.stop()
      this.#folder.forget(service.name)
    }
  }

  /** A restarted child has another process id, and programs that read the file should know. */
  #writeFacts(): void {
    if (this.#facts === null) return
    const pids = Object.fromEntries(this.#folder.processes.map(({ name, pid }) => [name, pid]))
    writeLocalFile(this.#folder.localFile, { ...this.#facts, pids: { start: process.pid, ...pids } })
  }

  async #removeData(databaseUrl: string | null): Promise<void> {
    if (databaseUrl !== null)
      throwRefusal(
        'bad_input',
        '--fresh does not touch the database that DATABASE_URL names; empty it yourself, or start without DATABASE_URL',
      )
    await removeEmbeddedPostgres(this.#folder.postgres)
    rmSync(this.#folder.agent, { recursive: true, force: true })
    rmSync(this.#folder.stateFile, { force: true })
  }

  #loadState(databaseUrl: string | null): LocalState {
    const found = readJsonFile<LocalState>(this.#folder.stateFile)
    if (found?.version === 1) return found
    if (databaseUrl === null && existsSync(path.join(this.#folder.postgres, 'data')))
      throwRefusal(
        'conflict',
        `the data in ${this.#folder.postgres} is sealed under keys that ${this.#folder.stateFile} held, and that file is missing or broken; put it back, or begin anew: npm start -- --fresh`,
      )
    const made: LocalState = {
      version: 1,
      adminToken: `sya_${randomBytes(32).toString('base64url')}`,
      wrapKey: randomBytes(32).toString('base64'),
      jwtSecret: randomBytes(32).toString('base64url'),
      demo: null,
    }
    // Before anything is sealed with it.
    writeSecretFile(this.#folder.stateFile, made)
    return made
  }

  async #startPostgres(): Promise<string> {
    const postgres = new SupervisedPostgres({
      folder: this.#folder.postgres,
      port: this.#ports.postgres,
      clock: this.#clock,
      log: this.#openLog('postgres'),
      onStart: (pid) => this.#noteStart('postgres', pid),
      onRestart: (delayMs) => this.#noteRestart('postgres', delayMs),
    })
    this.#begin(postgres)
    await this.#progress.step('starting PostgreSQL', () => postgres.run())
    return must(postgres.server, 'a started Postgres is there').url()
  }

  #startControlPlane(state: LocalState, databaseUrl: string, call: GraphqlCall): Promise<void> {
    return this.#startProcess({
      name: 'control-plane',
      script: 'control-plane/src/main.js',
      environment: () => ({
        DATABASE_URL: databaseUrl,
        SWITCHYARD_HTTP_HOST: '127.0.0.1',
        SWITCHYARD_HTTP_PORT: String(this.#ports.http),
        SWITCHYARD_METRICS_PORT: String(this.#ports.controlPlaneMetrics),
        SWITCHYARD_GRPC_HOST: '127.0.0.1',
        SWITCHYARD_FLEET_PORT: String(this.#ports.fleet),
        SWITCHYARD_ENROL_PORT: String(this.#ports.enrol),
        SWITCHYARD_ADMIN_TOKEN: state.adminToken,
        SWITCHYARD_WRAP_KEYS: `local:${state.wrapKey}`,
        SWITCHYARD_JWT_HS256_SECRET: state.jwtSecret,
      }),
      isReady: async () => {
        await call('{ __typename }')
        return true
      },
      readyTimeoutMs: 120_000,
    })
  }

  async #startSimulator() {
    const { simulator } = this.#ports
    await this.#startProcess({
      name: 'simulator',
      script: 'deploy/local/simulator-main.js',
      args: ['--port', String(simulator), '--behaviour', '{"ttftMs":60,"tokensPerSecond":120}'],
      environment: () => ({}),
      isReady: () => answers(`http://127.0.0.1:${simulator}/health`),
    })
    return simulatorUpstream(`http://127.0.0.1:${simulator}`)
  }

  #startAgent(joinToken: string): Promise<void> {
    return this.#startProcess({
      name: 'agent',
      script: 'agent/src/main.js',
      environment: () => ({
        SWITCHYARD_AGENT_HOST: '127.0.0.1',
        SWITCHYARD_AGENT_PORT: String(this.#ports.agent),
        SWITCHYARD_AGENT_METRICS_PORT: String(this.#ports.agentMetrics),
        SWITCHYARD_CONTROL_PLANE: `127.0.0.1:${this.#ports.fleet}`,
        SWITCHYARD_ENROL: `127.0.0.1:${this.#ports.enrol}`,
        SWITCHYARD_JOIN_TOKEN: joinToken,
        SWITCHYARD_AGENT_NAME: 'local',
        SWITCHYARD_AGENT_DATA_DIR: this.#folder.agent,
        SWITCHYARD_AGENT_DRAIN_TIMEOUT_MS: '5000',
      }),
      isReady: () => answers(`http://127.0.0.1:${this.#ports.agentMetrics}/readyz`),
    })
  }

  async #startProcess(child: {
    name: string
    script: string
    args?: readonly string[]
    environment: () => Environment
    isReady: () => Promise<boolean>
    readyTimeoutMs?: number
  }): Promise<void> {
    const supervised = new SupervisedProcess({
      name: child.name,
      command: [process.execPath, path.join(this.#options.root, '.build', child.script), ...(child.args ?? [])],
      environment: () => ({ ...this.#environment, ...child.environment() }),
      folder: this.#options.root,
      log: this.#openLog(child.name),
      clock: this.#clock,
      isReady: child.isReady,
      ...(child.readyTimeoutMs === undefined ? {} : { readyTimeoutMs: child.readyTimeoutMs }),
      onStart: (pid) => this.#noteStart(child.name, pid),
      onRestart: (delayMs) => this.#noteRestart(child.name, delayMs),
    })
    this.#begin(supervised)
    await supervised.run()
  }

  #begin(service: Service): void {
    if (this.#stopping) throwRefusal('unavailable', 'stopped while starting')
    this.#started.push(service)
  }

  #openLog(name: string): BoundedLog {
    const log = new BoundedLog(path.join(this.#folder.logs, `${name}.log`))
    this.#logs.push(log)
    return log
  }

  #noteStart(name: string, pid: number): void {
    this.#folder.record(name, pid)
    this.#writeFacts()
  }

  #noteRestart(name: string, delayMs: number): void {
    this.#progress.line(`  ${name} ended unasked; starting it again in ${delayMs} ms (see ${this.#folder.logs})`)
  }
}

async function answers(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(2_000) })
  await response.arrayBuffer()
  return response.ok
}
