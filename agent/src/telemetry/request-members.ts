import type { Hop } from '../../../proto/gen/switchyard/v1/Hop.js'
import type { UsageRecord } from '../../../proto/gen/switchyard/v1/UsageRecord.js'
import { formatUsdNumber } from '../../../proto/std/money.js'
import type { LineBytes } from './line-bytes.js'

/**
 * A record in both vocabularies that people search logs with, as members of a JSON object. Put together by hand: it is
 * made for every request. Ids are ours and plain; what people or providers wrote is looked at.
 */
export function writeRequestMembers(line: LineBytes, record: UsageRecord): void {
  line.plain('"request_id":"')
  line.plain(record.requestId ?? '')
  line.plain('","trace_id":"')
  line.plain(record.traceId ?? '')
  line.plain('","tenant_id":"')
  line.plain(record.tenantId ?? '')
  line.plain('","environment_id":"')
  line.plain(record.environmentId ?? '')
  line.plain('","user_id":')
  line.json(record.userId ?? '')
  line.plain(',"api_key_id":"')
  line.plain(record.apiKeyId ?? '')
  line.plain('","team_id":"')
  line.plain(record.teamId ?? '')
  line.plain('","operation":"')
  line.plain(record.operation ?? '')
  line.plain('","route":')
  line.json(record.routeName ?? '')
  line.plain(',"provider_id":"')
  line.plain(record.providerId ?? '')
  line.plain('","model_id":"')
  line.plain(record.modelId ?? '')
  line.plain('","model":')
  line.json(record.actualModel ?? '')
  line.plain(',"requested_model":')
  line.json(record.requestedModel ?? '')
  line.plain(',"tokens_in":')
  number(line, record.tokensIn)
  line.plain(',"tokens_out":')
  number(line, record.tokensOut)
  line.plain(',"input_tokens":')
  number(line, record.tokensIn)
  line.plain(',"output_tokens":')
  number(line, record.tokensOut)
  line.plain(',"cached_tokens":')
  number(line, record.tokensInCached)
  line.plain(',"reasoning_tokens":')
  number(line, record.tokensOutReasoning)
  line.plain(',"cost_usd":')
  if (typeof record.costNanoUsd === 'number') line.json(formatUsdNumber(record.costNanoUsd))
  else line.plain('null')
  line.plain(',"price_version":')
  number(line, record.priceVersion)
  line.plain(',"latency_ms":')
  milliseconds(line, record.latencyUs)
  line.plain(',"provider_latency_ms":')
  milliseconds(line, record.providerLatencyUs)
  line.plain(',"guardrail_latency_ms":')
  milliseconds(line, record.guardrailLatencyUs)
  line.plain(',"first_token_ms":')
  milliseconds(line, record.firstTokenUs)
  line.plain(',"status":"')
  line.plain(record.status ?? '')
  line.plain('","code":"')
  line.plain(record.code ?? '')
  line.plain('","http_status":')
  number(line, record.httpStatus)
  line.plain(record.fallbackUsed === true ? ',"fallback_used":true,"hops":' : ',"fallback_used":false,"hops":')
  line.json(hopsText(record.hops ?? none))
  line.plain(record.stream === true ? ',"stream":true,"temperature":' : ',"stream":false,"temperature":')
  number(line, record.temperature)
  if (record.routingOverride) {
    line.plain(',"routing_override":')
    line.json(record.routingOverride)
  }
  line.plain(',"prompt_id":null,"prompt_version":null,"guardrail_result":null,"grounding_score":null,"cache_hit":')
  if (record.cacheHit) line.json(record.cacheHit)
  else line.plain('null')
}

const none: readonly Hop[] = Object.freeze([])

function hopsText(hops: readonly Hop[]): string {
  const [first] = hops
  if (first === undefined) return ''
  return hops.length === 1
    ? `${first.upstreamModel}:${first.outcome}`
    : hops.map((hop) => `${hop.upstreamModel}:${hop.outcome}`).join(' ')
}

function number(line: LineBytes, value: unknown): void {
  if (typeof value === 'number') line.number(value)
  else line.plain('null')
}

/** Milliseconds with the microseconds behind the point. Whole numbers only: text of a fraction costs five times as much. */
function milliseconds(line: LineBytes, durationUs: unknown) {
  if (typeof durationUs !== 'number') return line.plain('null')
  const us = durationUs % 1000
  line.number((durationUs - us) / 1000)
  if (us === 0) return
  line.plain(us < 10 ? '.00' : us < 100 ? '.0' : '.')
  line.number(us)
}
