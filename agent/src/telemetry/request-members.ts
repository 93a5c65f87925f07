import type { UsageRecord } from '../../../proto/gen/switchyard/v1/UsageRecord.js'
import { formatUsdNumber } from '../../../proto/std/money.js'

/**
 * A record in both vocabularies that people search logs with, as members of a JSON object. Put together by hand: it is
 * made for every request. Ids are ours and plain; what people or providers wrote is looked at.
 */
export function requestMembers(record: UsageRecord): string {
  const tokensIn = numberText(record.tokensIn)
  const tokensOut = numberText(record.tokensOut)
  const { costNanoUsd } = record
  const cost = typeof costNanoUsd === 'number' ? `"${formatUsdNumber(costNanoUsd)}"` : 'null'
  return (
    `"request_id":"${record.requestId}","trace_id":"${record.traceId}","tenant_id":"${record.tenantId}",` +
    `"environment_id":"${record.environmentId}","user_id":${jsonText(record.userId)},` +
    `"api_key_id":"${record.apiKeyId}","team_id":"${record.teamId}","operation":"${record.operation}",` +
    `"route":${jsonText(record.routeName)},"provider_id":"${record.providerId}","model_id":"${record.modelId}",` +
    `"model":${jsonText(record.actualModel)},"requested_model":${jsonText(record.requestedModel)},` +
    `"tokens_in":${tokensIn},"tokens_out":${tokensOut},"input_tokens":${tokensIn},"output_tokens":${tokensOut},` +
    `"cached_tokens":${numberText(record.tokensInCached)},"reasoning_tokens":${numberText(record.tokensOutReasoning)},` +
    `"cost_usd":${cost},"price_version":${numberText(record.priceVersion)},` +
    `"latency_ms":${msText(record.latencyUs)},"provider_latency_ms":${msText(record.providerLatencyUs)},` +
    `"guardrail_latency_ms":${msText(record.guardrailLatencyUs)},"first_token_ms":${msText(record.firstTokenUs)},` +
    `"status":"${record.status}","code":"${record.code}","http_status":${numberText(record.httpStatus)},` +
    `"fallback_used":${record.fallbackUsed === true},"hops":${jsonText(hopsText(record.hops))},` +
    `"stream":${record.stream === true},"temperature":${numberText(record.temperature)},` +
    (record.routingOverride ? `"routing_override":${jsonText(record.routingOverride)},` : '') +
    '"prompt_id":null,"prompt_version":null,"guardrail_result":null,"grounding_score":null,"cache_hit":null'
  )
}

function hopsText(hops: UsageRecord['hops']): string {
  const first = hops?.[0]
  if (hops === undefined || first === undefined) return ''
  return hops.length === 1
    ? `${first.upstreamModel}:${first.outcome}`
    : hops.map((hop) => `${hop.upstreamModel}:${hop.outcome}`).join(' ')
}

function numberText(value: unknown): string {
  return typeof value === 'number' ? String(value) : 'null'
}

/** Milliseconds with the microseconds behind the point. Whole numbers only: text of a fraction costs five times as much. */
function msText(durationUs: unknown): string {
  if (typeof durationUs !== 'number') return 'null'
  const us = durationUs % 1000
  return us === 0
    ? String(durationUs / 1000)
    : `${(durationUs - us) / 1000}.${us < 10 ? '00' : us < 100 ? '0' : ''}${us}`
}

const plainText = /^[ !#-[\]-~]*$/

/** A text as JSON. */
function jsonText(text: string | undefined): string {
  return text !== undefined && plainText.test(text) ? `"${text}"` : JSON.stringify(text ?? '')
}
