import { sketchKey, sketchRoute, sketchTarget, type TargetSketch } from '../../../proto/policy/table-fixture.js'
import type {
  ApiKeyTable,
  CachePurgeTable,
  CacheTable,
  EnvironmentTable,
  RouteTable,
  TargetTable,
} from '../../../proto/policy/tables.js'
import { VirtualClock } from '../../../proto/std/clock.js'
import { isRefusal } from '../../../proto/std/refusal.js'
import type { JsonObject } from '../conversation/json-object.js'
import { findMembers } from '../providers/json-members.js'
import type { RequestBody, UpstreamOperation } from '../providers/provider-dialect.js'
import { AnswerCache, type AnswerCacheOptions } from './answer-cache.js'
import type { CacheTurn } from './cache-turn.js'
import type { CacheQuestion } from './kept-answer.js'

/** For tests: a cache on virtual time, and requests to it in few words. */
export const limits = Object.freeze({
  ...{ bytesMax: 1 << 20, answerBytesMax: 64 * 1024, entriesMax: 1_000, vectorBytesMax: 1 << 20 },
})

export function policyOf(over: Partial<CacheTable> = {}): CacheTable {
  return {
    ...{ anyTemperature: false, sharedBy: 'environment', otherTtlSeconds: 3_600, ageMaxSeconds: 604_800 },
    ttlSeconds: new Map([
      ['factual', 86_400],
      ['dynamic', 3_600],
    ]),
    ...{ staleSeconds: 0, shared: false, semantic: null, detailApiKeys: new Set<string>(), tags: [] },
    ...over,
  }
}

export interface Asked {
  /** JSON text as the client sent it, or what to make it of. */
  body?: string | JsonObject
  operation?: UpstreamOperation
  headers?: Readonly<Record<string, string>>
  policy?: CacheTable | null
  lastResortSeconds?: number
  tenantId?: string
  environmentId?: string
  keyId?: string
  teamId?: string | null
  region?: string
  purges?: readonly CachePurgeTable[]
  targets?: readonly TargetTable[]
  shapes?: readonly string[]
  prompt?: CacheQuestion['prompt']
  promptClass?: string | null
  dueMs?: number
  route?: Partial<RouteTable>
  routeId?: string
  isRenewal?: boolean
}

export const target = (id = 'a', sketch: TargetSketch = {}): TargetTable =>
  sketchTarget(id, { price: [1_000_000_000n, 2_000_000_000n], ...sketch })
const plainTargets = [target()]

export function chat(content: unknown, more: JsonObject = {}): JsonObject {
  return { model: 'fast', temperature: 0, messages: [{ role: 'user', content }], ...more }
}

/** As a door parses it. */
export function bodyOf(given: string | JsonObject): RequestBody {
  const bytes = Buffer.from(typeof given === 'string' ? given : JSON.stringify(given))
  const members = findMembers(bytes, 0, ['model'])
  if (members === null) throw new Error('a body is an object')
  const fields = JSON.parse(bytes.toString()) as JsonObject
  return {
    ...{ bytes, members, fields, model: String(fields['model']), stream: fields['stream'] === true },
    ...{ wantsUsage: false, wantsContinuousUsage: false },
    user: typeof fields['user'] === 'string' ? fields['user'] : null,
    temperature: typeof fields['temperature'] === 'number' ? fields['temperature'] : null,
    prompt: fields['messages'] ?? fields['input'] ?? fields['prompt'],
  }
}

export function keyOf(asked: Asked, route: RouteTable): ApiKeyTable {
  const key = sketchKey([route])
  const environment: EnvironmentTable = {
    ...key.environment,
    tenantId: asked.tenantId ?? 'ten_1',
    environmentId: asked.environmentId ?? 'env_1',
    cachePurges: asked.purges ?? [],
  }
  return { ...key, id: asked.keyId ?? 'key_1', teamId: asked.teamId ?? null, environment }
}

export function questionOf(asked: Asked, clock: VirtualClock): CacheQuestion {
  const { policy = policyOf(), lastResortSeconds = 0, targets = plainTargets } = asked
  const lastResort =
    lastResortSeconds > 0 ? { cachedAgeMaxSeconds: lastResortSeconds, apology: '', safeAnswer: '' } : null
  const route: RouteTable = {
    ...sketchRoute('fast', { targets }),
    ...{ id: asked.routeId ?? 'rte_1', lastResort, cache: policy },
    ...asked.route,
  }
  return {
    ...{ key: keyOf(asked, route), region: asked.region ?? 'eu', route, targets },
    operation: asked.operation ?? 'chat_completions',
    body: bodyOf(asked.body ?? chat('What is the capital of France?')),
    header: (name) => asked.headers?.[name],
    ...{ shapes: asked.shapes ?? [], prompt: asked.prompt ?? null },
    promptClass: () => asked.promptClass ?? null,
    startedAtMs: clock.nowMs(),
    dueUs: clock.monotonicUs() + (asked.dueMs ?? 10_000) * 1_000,
    isRenewal: asked.isRenewal ?? false,
  }
}

export class CacheWorld {
  readonly clock = new VirtualClock()
  readonly cache: AnswerCache

  constructor(options: Partial<AnswerCacheOptions> = {}) {
    this.cache = new AnswerCache({ clock: this.clock, shared: null, embedder: null, limits, ...options })
  }

  consult(asked: Asked = {}): CacheTurn | null {
    const turn = this.cache.consult(questionOf(asked, this.clock))
    if (isRefusal(turn)) throw new Error(turn.message)
    return turn
  }

  /** A request from its beginning to its end: what it was given, or `said` after it was made. */
  async ask(asked: Asked = {}, said = 'Paris.'): Promise<string> {
    const turn = this.consult(asked)
    if (turn === null) return `aside: ${said}`
    const hit = await turn.look()
    if (hit === null) {
      const answerer = asked.targets?.[0] ?? plainTargets[0] ?? target()
      if (questionOf(asked, this.clock).body.stream) {
        const record = turn.startRecord()
        record.add(Buffer.from(chunk({ role: 'assistant', content: said }) + chunk({}, 'stop')))
        turn.keepStream(answerer, record, Buffer.from(done), told)
      } else turn.keepWhole(answerer, answerOf(said), told)
    }
    turn.leave(false)
    return hit === null ? `made: ${said}` : `${hit.kind}: ${textOf(hit.kept.bytes)}`
  }
}

export const told = Object.freeze({
  usage: { input: 10, output: 5, cachedInput: null, cacheWriteInput: null, reasoningOutput: null },
  model: 'm-2026',
})

export function answerOf(content: string, finish = 'stop'): string {
  const choices = [{ index: 0, message: { role: 'assistant', content }, finish_reason: finish }]
  return JSON.stringify({ id: 'c', object: 'chat.completion', created: 1, model: 'm-2026', choices })
}

export function chunk(delta: JsonObject, finish: string | null = null): string {
  return `data: ${JSON.stringify({ id: 'c', model: 'm-2026', choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`
}
export const done = 'data: [DONE]\n\n'

function textOf(bytes: Buffer): string {
  return /"content":"([^"]*)"/.exec(bytes.toString())?.[1] ?? ''
}
