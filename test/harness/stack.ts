import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import pg from 'pg'
import { type GraphqlCall, graphqlCall } from '../../deploy/local/graphql-call.js'
import { createJoinToken, type DemoSeed, seedDemo } from '../../deploy/local/seed-demo.js'
import { Simulator } from '../../deploy/local/simulator.js'
import { simulatorUpstream } from '../../deploy/local/upstream.js'
import { freePort } from './free-port.js'
import { startTestPostgres, type TestPostgres } from './postgres.js'
import { eventually, TestProcess } from './process.js'
import { type TestRedis, testRedis } from './redis.js'
import { makeTestFolder } from './test-folder.js'

export interface StackOptions {
  /** Where BullMQ keeps its jobs. */
  queue: 'postgres' | 'redis'
  seed: number
  /** Variables for the two planes beyond the ones that make them meet. */
  controlPlane?: Readonly<Record<string, string>>
  agent?: Readonly<Record<string, string>>
}

/**
 * The whole product as it runs in production: Postgres, Redis if wanted, control plane and agent as processes of their
 * own, joined by real enrolment over real TLS. Only the upstream is a simulator, inside this process, so that what it
 * accepted is known exactly.
 */
export class Stack {
  readonly simulator: Simulator
  readonly adminToken = randomBytes(24).toString('base64url')
  readonly #options: StackOptions
  readonly #folder = makeTestFolder()
  #postgres: TestPostgres | null = null
  #redis: TestRedis | null = null
  #controlPlane: TestProcess | null = null
  #agent: TestProcess | null = null
  #database: pg.Pool | null = null
  #ports = { http: 0, metrics: 0, fleet: 0, enrol: 0, agent: 0, agentMetrics: 0 }
  #seed: DemoSeed | null = null
  /** Names of the seeded routes. */
  readonly chatRoute = 'chat'
  readonly embeddingsRoute = 'embed'

  constructor(options: StackOptions) {
    this.#options = options
    this.simulator = new Simulator({ port: 0, seed: options.seed })
  }

  /** The demo tenant, its environment and its API key. */
  get seed(): DemoSeed {
    return required(this.#seed)
  }

  get graphqlUrl(): string {
    return `http://127.0.0.1:${this.#ports.http}/graphql`
  }

  get agentUrl(): string {
    return `http://127.0.0.1:${this.#ports.agent}`
  }

  get agentMetricsUrl(): string {
    return `http://127.0.0.1:${this.#ports.agentMetrics}`
  }

  get postgres(): TestPostgres {
    return required(this.#postgres)
  }

  get redis(): TestRedis {
    return required(this.#redis)
  }

  get controlPlane(): TestProcess {
    return required(this.#controlPlane)
  }

  get agent(): TestProcess {
    return required(this.#agent)
  }

  /** For looking at the record itself; survives restarts of Postgres. */
  get database(): pg.Pool {
    return required(this.#database)
  }

  async start(): Promise<void> {
    this.#ports = {
      http: await freePort(),
      metrics: await freePort(),
      fleet: await freePort(),
      enrol: await freePort(),
      agent: await freePort(),
      agentMetrics: await freePort(),
    }
    this.#postgres = await startTestPostgres({ durable: true })
    this.#redis = this.#options.queue === 'redis' ? await testRedis() : null
    await this.simulator.start()
    const databaseUrl = (await this.#postgres.database()).url
    this.#database = new pg.Pool({ connectionString: databaseUrl, max: 2 })
    this.#database.on('error', () => {})
    mkdirSync(path.join(this.#folder, 'agent'), { recursive: true, mode: 0o700 })
    this.#controlPlane = new TestProcess({
      name: 'control-plane',
      script: 'control-plane/src/main.js',
      folder: this.#folder,
      environment: {
        DATABASE_URL: databaseUrl,
        ...(this.#redis ? { REDIS_URL: this.#redis.url } : {}),
        SWITCHYARD_HTTP_PORT: String(this.#ports.http),
        SWITCHYARD_METRICS_PORT: String(this.#ports.metrics),
        SWITCHYARD_FLEET_PORT: String(this.#ports.fleet),
        SWITCHYARD_ENROL_PORT: String(this.#ports.enrol),
        SWITCHYARD_ADMIN_TOKEN: this.adminToken,
        SWITCHYARD_WRAP_KEYS: `test:${randomBytes(32).toString('base64')}`,
        ...this.#options.controlPlane,
      },
    })
    this.#controlPlane.start()
    await this.controlPlaneReady()
    this.#seed = await seedDemo(this.graphql, simulatorUpstream(this.simulator.url), null)
    const joinToken = await createJoinToken(this.graphql, this.#seed.clusterId)
    this.#agent = new TestProcess({
      name: 'agent',
      script: 'agent/src/main.js',
      folder: this.#folder,
      environment: {
        SWITCHYARD_AGENT_PORT: String(this.#ports.agent),
        SWITCHYARD_AGENT_METRICS_PORT: String(this.#ports.agentMetrics),
        SWITCHYARD_CONTROL_PLANE: `127.0.0.1:${this.#ports.fleet}`,
        SWITCHYARD_ENROL: `127.0.0.1:${this.#ports.enrol}`,
        SWITCHYARD_JOIN_TOKEN: joinToken,
        SWITCHYARD_AGENT_NAME: 'under-test',
        SWITCHYARD_AGENT_DATA_DIR: path.join(this.#folder, 'agent'),
        SWITCHYARD_AGENT_RECONNECT_MAX_MS: '1000',
        ...this.#options.agent,
      },
    })
    this.#agent.start()
    await this.agentReady()
  }

  async stop(): Promise<void> {
    await this.#agent?.end('SIGKILL')
    await this.#controlPlane?.end('SIGKILL')
    await this.#database?.end()
    await this.simulator.stop()
    await this.#redis?.stop()
    await this.#postgres?.stop()
  }

  controlPlaneReady(deadlineMs = 90_000): Promise<unknown> {
    const url = `http://127.0.0.1:${this.#ports.http}/readyz`
    return eventually(
      'the control plane is ready',
      async () => {
        if (!this.controlPlane.alive) throw new Error(`the control plane ended:\n${this.controlPlane.log.slice(-4000)}`)
        return (await fetch(url)).ok
      },
      deadlineMs,
    )
  }

  agentReady(deadlineMs = 90_000): Promise<unknown> {
    return eventually(
      'the agent is ready',
      async () => {
        if (!this.agent.alive) throw new Error(`the agent ended:\n${this.agent.log.slice(-4000)}`)
        return (await fetch(`${this.agentUrl}/readyz`)).ok
      },
      deadlineMs,
    )
  }

  /** A GraphQL call as the bootstrap admin; throws on any error. */
  readonly graphql: GraphqlCall = (query, variables) => graphqlCall(this.graphqlUrl, this.adminToken)(query, variables)
}

function required<T>(part: T | null): T {
  if (part === null) throw new Error('the stack was not started, or has no such part')
  return part
}
