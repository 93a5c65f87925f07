import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import http, { type IncomingMessage } from 'node:http'
import net from 'node:net'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cluster, deny, environment, section, sign } from '../../agent/src/config/snapshot-fixture.js'
import type { Resource } from '../../proto/gen/switchyard/v1/Resource.js'
import { makeApiKeyText } from '../../proto/policy/api-key-text.js'
import { systemClock } from '../../proto/std/clock.js'
import { answerJson, chatAnswer, ScriptedUpstream } from '../harness/agent-door.js'
import { freePort } from '../harness/free-port.js'
import { MemoryPlane } from '../harness/memory-plane.js'
import { eventually, TestProcess } from '../harness/process.js'
import { makeTestFolder } from '../harness/test-folder.js'

/** An agent with two request workers, as processes, from a client's connection to a stored record. */
const providerSecret = `sk-${randomBytes(24).toString('hex')}`
const variableSecret = `sk-${randomBytes(24).toString('hex')}`
const stateKey = randomBytes(32).toString('base64')
const apiKey = makeApiKeyText('production', randomBytes(32).toString('base64url'))
const otherKey = makeApiKeyText('production', randomBytes(32).toString('base64url'))
const hashOf = (key: string) => createHash('sha256').update(key).digest()

let plane: MemoryPlane
let upstream: ScriptedUpstream
let agent: TestProcess
let folder: string
let ports = { http: 0, metrics: 0 }
const sockets: http.Agent[] = []
/** Lets every held stream go on to its end. */
let release: () => void
let held: Promise<void>

beforeEach(async () => {
  held = new Promise((resolve) => {
    release = resolve
  })
  upstream = await new ScriptedUpstream(async ({ body, headers }, response) => {
    if (!body.includes('"stream":true')) {
      return answerJson(response, 200, { ...chatAnswer, system_fingerprint: headers.authorization })
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(`data: ${JSON.stringify(chunk({ role: 'assistant', content: 'a' }))}\n\n`)
    await held
    response.write(
      `data: ${JSON.stringify({ ...chunk({}), choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}\n\n`,
    )
    response.end(`data: ${JSON.stringify({ ...chunk({}), choices: [], usage: chatAnswer.usage })}\n\ndata: [DONE]\n\n`)
  }).start()
  plane = await MemoryPlane.start()
  plane.addSecret('crd_1', 1, providerSecret)
  ports = { http: await freePort(), metrics: await freePort() }
  folder = makeTestFolder()
  agent = new TestProcess({
    name: 'agent',
    script: 'agent/src/main.js',
    folder,
    environment: {
      ...plane.environment,
      SWITCHYARD_WORKERS: '2',
      SWITCHYARD_AGENT_PORT: String(ports.http),
      SWITCHYARD_AGENT_METRICS_PORT: String(ports.metrics),
      SWITCHYARD_AGENT_DATA_DIR: path.join(folder, 'agent'),
      SWITCHYARD_AGENT_STATE_KEY: stateKey,
      SWITCHYARD_AGENT_CREDENTIAL_VARIABLES: 'UPSTREAM_SECRET',
      UPSTREAM_SECRET: variableSecret,
    },
  })
})
afterEach(async () => {
  release()
  for (const socket of sockets.splice(0)) socket.destroy()
  await agent.end('SIGKILL')
  await plane.stop()
  await upstream.stop()
})

const chunk = (delta: object) => ({
  ...{ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'm' },
  choices: [{ index: 0, delta, finish_reason: null }],
})

function publish(
  generation: number,
  options: {
    denied?: boolean
    key?: Partial<NonNullable<Resource['apiKey']>>
    replicas?: readonly ScriptedUpstream[]
  } = {},
) {
  const resources = environment([])
  const provider = resources['provider/prv_1']?.provider
  if (provider) provider.baseUrl = `${upstream.origin}/v1`
  if (provider && options.replicas) provider.replicaUrls = options.replicas.map(({ origin }) => `${origin}/v1`)
  const limits = { inFlightMax: 100, requestsPerMinuteMax: 100_000, ...options.key }
  resources['api_key/key_1'] = { apiKey: { id: 'key_1', secretHash: hashOf(apiKey), ...limits } }
  resources['api_key/key_2'] = { apiKey: { id: 'key_2', secretHash: hashOf(otherKey), ...limits } }
  const denial = deny('key_1')
  if (denial.deny) denial.deny.secretHash = hashOf(apiKey)
  const denials = options.denied === true ? { 'deny/key_1': denial } : {}
  plane.publish(sign({ generation, sections: { cluster, deny: denials, [section]: resources } }))
}

async function startAgent(generation = 1): Promise<void> {
  if (generation === 1) publish(1)
  agent.start()
  await eventually('the agent is ready', async () => {
    if (!agent.alive) throw new Error(`the agent ended:\n${agent.log.slice(-4_000)}`)
    return (await fetch(`http://127.0.0.1:${ports.metrics}/readyz`)).ok
  })
  await eventually('its configuration is acknowledged', () => plane.ackOf(generation)?.outcome === 'APPLIED')
}

interface Answer {
  readonly status: number
  readonly body: Promise<string>
}

/** One kept connection, and so one worker. */
class Client {
  readonly #socket = new http.Agent({ keepAlive: true, maxSockets: 1 })

  constructor(readonly key = apiKey) {
    sockets.push(this.#socket)
  }

  async ask(options: { stream?: boolean; id?: string; text?: string } = {}): Promise<Answer> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = http.request(
        {
          ...{ host: '127.0.0.1', port: ports.http, method: 'POST', path: '/v1/chat/completions', agent: this.#socket },
          headers: {
            authorization: `Bearer ${this.key}`,
            'content-type': 'application/json',
            ...(options.id === undefined ? {} : { 'x-request-id': options.id }),
          },
        },
        resolve,
      )
      request.on('error', reject)
      request.end(
        JSON.stringify({
          ...{
            model: 'fast',
            messages: [{ role: 'user', content: options.text ?? 'hi' }],
            stream: options.stream === true,
          },
        }),
      )
    })
    const body = (async () => {
      let text = ''
      for await (const data of response) text += data
      return text
    })()
    body.catch(() => {})
    return { status: response.statusCode ?? 0, body }
  }

  async status(): Promise<number> {
    const { status, body } = await this.ask()
    await body
    return status
  }
}

/** A client of each worker. Connections are dealt in turn; which worker has one is known by the log line of a request. */
async function clientOfEach(): Promise<Client[]> {
  const found = new Map<number, Client>()
  for (let tries = 0; found.size < 2 && tries < 20; tries++) {
    const client = new Client()
    const id = `probe-${randomBytes(8).toString('hex')}`
    const answer = await client.ask({ id })
    await answer.body
    const { worker } = await eventually('its log line', () => workerOf(id))
    found.set(worker, client)
  }
  return [0, 1].map((index) => {
    const client = found.get(index)
    if (client === undefined) throw new Error('all connections went to one worker')
    return client
  })
}

interface Line {
  readonly message?: string
  readonly worker?: number
  readonly pid?: number
  readonly request_id?: string
  readonly level?: string
}

function lines(): Line[] {
  return agent.log.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as Line] : []))
}

/** Null while there is no line. As `{ worker }`, because 0 would count as none. */
function workerOf(requestId: string): { worker: number } | null {
  const line = lines().find((candidate) => candidate.request_id === requestId)
  return line?.worker === undefined ? null : { worker: line.worker }
}

/** Of the newest process of each worker, by number. */
function workerPids(): number[] {
  const pids: number[] = []
  for (const { message, worker, pid } of lines()) {
    if (message === 'request worker up' && worker !== undefined && pid !== undefined) pids[worker] = pid
  }
  return pids
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${ports.metrics}/metrics`)).text()
  const value = new RegExp(`^switchyard_agent_${name.replace(/[{}"]/g, '\\$&')} (.*)$`, 'm').exec(text)?.[1]
  return Number(value)
}

function allBytesBelow(directory: string): Buffer[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true }).flatMap((entry) =>
    entry.isFile() ? [readFileSync(path.join(entry.parentPath, entry.name))] : [],
  )
}

/** Every record is there once, and there are as many as `count`. */
async function expectRecords(count: number): Promise<void> {
  await eventually(`${count} records are stored`, () => plane.recordCount >= count)
  expect(plane.recordCount).toBe(count)
  expect(plane.contradictions).toEqual([])
  expect(plane.drops).toEqual([])
  const ids = plane.records.map(({ record }) => record.requestId)
  expect(new Set(ids).size).toBe(count)
}

describe('an agent with two request workers', () => {
  it('serves behind one port, counts as one, and stores each request once under the lane of its worker', async () => {
    await startAgent()
    const clients = await clientOfEach()
    const before = plane.recordCount
    for (let round = 0; round < 10; round++)
      expect(await Promise.all(clients.map((each) => each.status()))).toEqual([200, 200])
    const asked = upstream.received.length
    await expectRecords(asked)
    expect(asked - before).toBeGreaterThanOrEqual(20)
    const lanes = new Set(plane.records.map(({ key }) => key.split('/').slice(0, 2).join('/')))
    expect([...lanes].map((lane) => lane.split('/')[1]).sort()).toEqual(['0', '1'])
    expect(await metric('requests_total{operation="chat_completions",status="ok"}')).toBe(asked)
    expect(await metric('worker_restarts_total')).toBe(0)
    expect(upstream.received[0]?.headers.authorization).toBe(`Bearer ${providerSecret}`)
  })

  it('says that a revocation is applied when no worker lets the key in any more', async () => {
    await startAgent()
    const [first, second] = await clientOfEach()
    const [pid] = workerPids()
    // The first worker cannot swap for now.
    process.kill(pid ?? 0, 'SIGSTOP')
    try {
      publish(2, { denied: true })
      await eventually('the other worker denies the key', async () => (await second?.status()) === 401)
      expect(plane.ackOf(2)).toBeNull()
    } finally {
      process.kill(pid ?? 0, 'SIGCONT')
    }
    await eventually('acknowledged', () => plane.ackOf(2)?.outcome === 'APPLIED')
    expect(await first?.status()).toBe(401)
    expect(await new Client(otherKey).status()).toBe(200)
  })

  it('a worker that is killed takes only its own requests with it: interrupted, once; and comes back', async () => {
    await startAgent()
    const [first, second] = await clientOfEach()
    const [firstPid] = workerPids()
    const lost = await first?.ask({ stream: true, id: 'lost' })
    const kept = await second?.ask({ stream: true, id: 'kept' })
    expect([lost?.status, kept?.status]).toEqual([200, 200])
    process.kill(firstPid ?? 0, 'SIGKILL')
    await expect(lost?.body).rejects.toThrow()
    await eventually('it is recorded as interrupted', () =>
      plane.records.some(({ record }) => record.requestId === 'lost' && record.status === 'interrupted'),
    )
    expect((await fetch(`http://127.0.0.1:${ports.metrics}/readyz`)).status).toBe(200)
    await eventually('a new worker serves', () => {
      const [pid] = workerPids()
      return pid !== undefined && pid !== firstPid
    })
    release()
    expect(await kept?.body).toContain('data: [DONE]')
    const clients = await clientOfEach()
    for (const client of clients) expect(await client.status()).toBe(200)
    await expectRecords(upstream.received.length)
    // The new life has lanes of its own: no key comes twice.
    const lanesOfFirst = plane.records.flatMap(({ key }) => (key.split('/')[1] === '0' ? [key.split('/')[0]] : []))
    expect(new Set(lanesOfFirst).size).toBe(2)
    expect(plane.records.find(({ record }) => record.requestId === 'kept')?.record.status).toBe('ok')
    expect(await metric('worker_restarts_total')).toBe(1)
    expect(lines().filter(({ level }) => level === 'error')).toEqual([])
  })

  it('drains on SIGTERM: running streams to their end, new requests refused, every record delivered, nobody left', async () => {
    await startAgent()
    const clients = await clientOfEach()
    const pids = workerPids()
    const running = await Promise.all(clients.map((client) => client.ask({ stream: true })))
    const ended = agent.end('SIGTERM')
    await eventually('it refuses', async () => (await new Client().status()) === 503)
    release()
    for (const { body } of running) expect(await body).toContain('data: [DONE]')
    await ended
    expect(agent.log).toContain('[agent ended: code 0, signal null]')
    await expectRecords(upstream.received.length)
    expect(plane.records.every(({ record }) => record.status === 'ok')).toBe(true)
    for (const pid of pids) expect(existsSync(`/proc/${pid}`)).toBe(false)
  })

  it('ends at once on a second signal, workers too, and the next start records what ran', async () => {
    await startAgent()
    const clients = await clientOfEach()
    const pids = workerPids()
    await Promise.all(clients.map((client, index) => client.ask({ stream: true, id: `running-${index}` })))
    void agent.end('SIGTERM')
    await eventually('draining', async () => (await fetch(`http://127.0.0.1:${ports.metrics}/readyz`)).status === 503)
    await agent.end('SIGTERM')
    await eventually('no worker is left', () => pids.every((pid) => !existsSync(`/proc/${pid}`)))
    publish(2)
    await startAgent(2)
    await expectRecords(upstream.received.length)
    const interrupted = plane.records.flatMap(({ record }) =>
      record.status === 'interrupted' ? [record.requestId] : [],
    )
    expect(interrupted.sort()).toEqual(['running-0', 'running-1'])
  })

  it('outlives a worker of its last life that could not end, before it reads what that one wrote', async () => {
    await startAgent()
    const [first] = await clientOfEach()
    const [pid] = workerPids()
    await first?.ask({ stream: true, id: 'ran' })
    process.kill(pid ?? 0, 'SIGSTOP')
    // Not by `end`, which waits for the pipes that the stopped one still holds.
    process.kill(agent.pid ?? 0, 'SIGKILL')
    await eventually('the primary is gone', () => !agent.alive)
    expect(existsSync(`/proc/${pid}`)).toBe(true)
    publish(2)
    await startAgent(2)
    expect(existsSync(`/proc/${pid}`) && !readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z')).toBe(false)
    await expectRecords(upstream.received.length)
    expect(plane.records.find(({ record }) => record.requestId === 'ran')?.record.status).toBe('interrupted')
  })

  it('keeps credentials in memory: not on disk, not among arguments or variables of a worker', async () => {
    await startAgent()
    const clients = await clientOfEach()
    for (const client of clients) expect(await client.status()).toBe(200)
    const secrets = [providerSecret, variableSecret, stateKey, plane.environment['SWITCHYARD_JOIN_TOKEN'] ?? '']
    const places = workerPids().flatMap((pid) =>
      ['environ', 'cmdline'].map((name) => readFileSync(`/proc/${pid}/${name}`)),
    )
    expect(places).toHaveLength(4)
    expect(places[0]?.toString()).toContain('PATH=')
    const everything = [...places, ...allBytesBelow(folder)]
    expect(everything.length).toBeGreaterThan(10)
    for (const secret of secrets) {
      expect(secret.length).toBeGreaterThan(20)
      expect(everything.filter((bytes) => bytes.includes(secret))).toEqual([])
      expect(everything.filter((bytes) => bytes.includes(Buffer.from(secret).toString('base64')))).toEqual([])
    }
  })

  it('holds a key’s limit for all workers together, and gives one connection the whole of it', async () => {
    await startAgent()
    publish(2, { key: { inFlightMax: 2 } })
    await eventually('applied', () => plane.ackOf(2)?.outcome === 'APPLIED')
    const [first, second] = await clientOfEach()
    const one = await first?.ask({ stream: true })
    const two = await second?.ask({ stream: true })
    expect([one?.status, two?.status]).toEqual([200, 200])
    // Whichever worker a third connection goes to, the other has one of the two, and has told it a moment later.
    const areRefused = async () => {
      const statuses = await Promise.all([1, 2, 3, 4, 5, 6].map(() => new Client().status()))
      return statuses.every((status) => status === 429)
    }
    await eventually('the third is refused, wherever it goes', areRefused)
    expect(await areRefused()).toBe(true)
    expect(await new Client(otherKey).status()).toBe(200)
    release()
    await Promise.all([one?.body, two?.body])
    await eventually('there is room again', async () => (await new Client().status()) === 200)
  })

  it('sends a prompt where its other worker sent the beginning of it', async () => {
    const answer: ConstructorParameters<typeof ScriptedUpstream>[0] = (_, response) =>
      answerJson(response, 200, chatAnswer)
    const replicas = await Promise.all([0, 1, 2, 3].map(() => new ScriptedUpstream(answer).start()))
    try {
      await startAgent()
      publish(2, { replicas })
      await eventually('applied', () => plane.ackOf(2)?.outcome === 'APPLIED')
      const [first, second] = await clientOfEach()
      const texts = Array.from({ length: 6 }, (_, i) => `${i} ${randomBytes(4_000).toString('hex')}`)
      const placeOf = (text: string) =>
        replicas.flatMap(({ received }, place) => received.filter(({ body }) => body.includes(text)).map(() => place))
      for (const text of texts) await (await first?.ask({ text }))?.body
      expect(texts.map((text) => placeOf(text).length)).toEqual([1, 1, 1, 1, 1, 1])
      // Two tellings of 20 ms. Nobody shows what has been learned, and asking would teach the one that is asked.
      await systemClock.sleep(1_000)
      for (const text of texts) await (await second?.ask({ text: `${text} and more` }))?.body
      for (const text of texts) {
        const [place, again] = placeOf(text)
        expect(again).toBe(place)
      }
    } finally {
      await Promise.all(replicas.map((replica) => replica.stop()))
    }
  })

  it('says what stands in the way when the port is taken, and ends', async () => {
    const taken = net.createServer().listen(ports.http, '127.0.0.1')
    publish(1)
    agent.start()
    await eventually('it ended', () => agent.log.includes('[agent ended:'))
    taken.close()
    expect(agent.log).toContain('[agent ended: code 1')
    expect(agent.log).toContain('EADDRINUSE')
  })
})
