import { z } from 'zod'
import {
  type PromptClass,
  promptClasses,
  promptClassHeader,
  promptClassSaid,
} from '../../../proto/policy/classify-prompt.js'
import type { Explanation } from '../../../proto/policy/explain.js'
import { type HealthFacts, nothingKnown, type TargetHealth } from '../../../proto/policy/health.js'
import { MeasuredPrompt, type PromptFacts } from '../../../proto/policy/measured-prompt.js'
import type { RequestFacts } from '../../../proto/policy/request-facts.js'
import type { ApiKeyTable, EnvironmentTable } from '../../../proto/policy/tables.js'
import { shapes } from '../access/check-input.js'

/** A request that nobody sends, as somebody describes it who asks where it would go. */
export const operations = [
  ...(['chat_completions', 'completions', 'responses', 'messages', 'count_tokens', 'embeddings'] as const),
] as const
export type Operation = (typeof operations)[number]
export const healthStates = ['closed', 'open', 'half_open'] as const

/** What was measured of the prompt, and everything that led to the choice. */
export interface RouteExplanation {
  readonly environmentId: string
  readonly intentRevision: bigint
  readonly explanation: Explanation
  readonly complexity: number | null
  readonly promptClass: PromptClass | null
  readonly tokensIn: number | null
}

const headersMax = 50
const targetsMax = 64
const text = (charactersMax: number) => z.string().max(charactersMax, `expected at most ${charactersMax} characters`)
const count = (max: number) => shapes.integer(0, max)

export const explainRouteInput = z.object({
  environmentId: shapes.id,
  model: z.string().min(1, 'expected the name of a route').max(200, 'expected at most 200 characters'),
  apiKeyId: shapes.id.nullish(),
  teamId: shapes.id.nullish(),
  internalOnly: z.boolean().nullish(),
  operation: z.enum(operations, `expected one of ${operations.join(', ')}`).nullish(),
  userId: text(256).nullish(),
  sessionId: text(256).nullish(),
  headers: z
    .array(z.object({ name: text(100), value: text(8_192) }))
    .max(headersMax, `expected at most ${headersMax} headers`)
    .nullish(),
  prompt: text(1_000_000).nullish(),
  turnCount: count(100_000).nullish(),
  toolCount: count(10_000).nullish(),
  complexity: z.number().min(0, 'expected a number from 0 to 1').max(1, 'expected a number from 0 to 1').nullish(),
  promptClass: z.enum(promptClasses, `expected one of ${promptClasses.join(', ')}`).nullish(),
  tokensIn: count(100_000_000).nullish(),
  outputTokensMax: count(100_000_000).nullish(),
  stream: z.boolean().nullish(),
  region: shapes.region.nullish(),
  at: z.date().nullish(),
  draw: z.number().min(0, 'expected a number from 0, below 1').lt(1, 'expected a number from 0, below 1').nullish(),
  health: z
    .array(
      z.object({
        targetId: shapes.id,
        state: z.enum(healthStates, `expected one of ${healthStates.join(', ')}`).nullish(),
        latencyMs: z.number().min(0, 'expected a number from 0').max(3_600_000, 'expected at most 3600000').nullish(),
        inFlightCount: count(1_000_000).nullish(),
      }),
    )
    .max(targetsMax, `expected at most ${targetsMax} targets`)
    .nullish(),
})
export type ExplainRouteInput = z.output<typeof explainRouteInput>

/** What of an API key a decision looks at. */
export type AskingKey = Pick<ApiKeyTable, 'id' | 'teamId' | 'allowedRoutes' | 'allowExternal'>

/** Nobody's key: every route, and outside unless said otherwise. */
export function plainKey(input: ExplainRouteInput): AskingKey {
  return { id: '', teamId: input.teamId ?? null, allowedRoutes: null, allowExternal: input.internalOnly !== true }
}

export function keyTable(key: AskingKey, environment: EnvironmentTable): ApiKeyTable {
  const never = { expiresAtMs: Number.POSITIVE_INFINITY, inFlightMax: 1, requestsPerMinuteMax: 1 }
  return { ...key, ...never, environment, mayPin: false }
}

/** Where agents read who the end user is, if the body does not say, and the session. */
const userHeader = 'x-switchyard-user'
const sessionHeader = 'x-switchyard-session'
/** By which a key that may takes the decision away from the route. */
const overrideHeaders: ReadonlySet<string> = new Set(['x-switchyard-target', 'x-switchyard-fallback'])

/** What is wrong is of this member of the input. */
export interface InputFlaw {
  readonly field: string
  readonly message: string
}

/**
 * What the input says twice, or says of something that is not explained; null: nothing. It would otherwise be left out
 * without a word, and the answer would be one to another question.
 */
export function findContradiction(input: ExplainRouteInput): InputFlaw | null {
  if (input.apiKeyId != null) {
    for (const member of ['teamId', 'internalOnly'] as const) {
      if (input[member] != null)
        return { field: `input.${member}`, message: 'the API key says it: leave one of them out' }
    }
  }
  const names = new Set<string>()
  for (const [index, { name, value }] of (input.headers ?? []).entries()) {
    const lower = name.toLowerCase()
    const field = `input.headers[${index}].name`
    if (names.has(lower)) return { field, message: `the header ${lower} is there twice` }
    names.add(lower)
    if (overrideHeaders.has(lower)) {
      return { field, message: `what the route decides is explained, and ${lower} overrides that: leave it out` }
    }
    if (lower === sessionHeader && input.sessionId != null && input.sessionId !== value) {
      return { field: 'input.sessionId', message: `the header ${sessionHeader} names another session` }
    }
  }
  return null
}

/** The first of `health` that is about no target of the environment: it would change nothing, whatever was meant. */
export function findUnknownTarget({ health }: ExplainRouteInput, environment: EnvironmentTable): InputFlaw | null {
  if (health == null || health.length === 0) return null
  const ids = new Set<string>()
  for (const { rules } of environment.routes.values()) {
    for (const { targets } of rules) for (const { id } of targets) ids.add(id)
  }
  const index = health.findIndex(({ targetId }) => !ids.has(targetId))
  return index === -1
    ? null
    : { field: `input.health[${index}].targetId`, message: 'no such target in this environment' }
}

/** The facts that an agent would gather of such a request. */
export function factsOf(input: ExplainRouteInput, nowMs: number): RequestFacts {
  const headers = new Map((input.headers ?? []).map(({ name, value }) => [name.toLowerCase(), value]))
  return {
    operation: input.operation ?? 'chat_completions',
    model: input.model,
    userId: input.userId ?? headers.get(userHeader) ?? '',
    sessionId: input.sessionId ?? headers.get(sessionHeader) ?? '',
    stream: input.stream ?? false,
    header: (name) => headers.get(name),
    region: input.region ?? undefined,
    nowMs: input.at?.getTime() ?? nowMs,
    draw: input.draw ?? 0,
    outputTokensMax: input.outputTokensMax ?? undefined,
    prompt: promptOf(input, headers.get(promptClassHeader)),
  }
}

/** Measured as agents measure, unless somebody says what to suppose; without a prompt only that is known. */
export function promptOf(input: ExplainRouteInput, saidClass: string | undefined): PromptFacts {
  const { prompt } = input
  const said = input.promptClass ?? promptClassSaid(saidClass)
  const measured =
    prompt == null
      ? null
      : new MeasuredPrompt(
          () => ({
            ...{ newestText: () => prompt, textBytes: Buffer.byteLength(prompt), imageCount: 0 },
            ...{ turnCount: input.turnCount ?? 1, toolCount: input.toolCount ?? 0 },
          }),
          said,
        )
  return {
    complexity: () => input.complexity ?? measured?.complexity() ?? null,
    promptClass: () => said ?? measured?.promptClass() ?? null,
    tokensIn: () => input.tokensIn ?? measured?.tokensIn() ?? null,
    isSaid: (measure) => (measure === 'complexity' ? input.complexity != null : said !== null),
  }
}

/** What is to be supposed of targets; the others are well. */
export function healthOf({ health }: ExplainRouteInput): HealthFacts {
  if (health == null || health.length === 0) return nothingKnown
  const known = new Map<string, TargetHealth>(
    health.map(({ targetId, state, latencyMs, inFlightCount }) => [
      targetId,
      {
        ...{ state: state ?? 'closed', retryInMs: 0, inFlightCount: inFlightCount ?? 0 },
        latencyUs: latencyMs == null ? null : Math.round(latencyMs * 1000),
      },
    ]),
  )
  return { of: (target) => known.get(target.id) ?? nothingKnown.of(target) }
}
