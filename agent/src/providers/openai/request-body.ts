import type { TargetTable } from '../../../../proto/policy/tables.js'
import { applyEdits, type Edit, findMembers } from '../json-members.js'
import type { RequestBody, UsageDepth } from '../provider-dialect.js'

/**
 * The client's bytes with the upstream's model name and, for a stream, a request for its usage. Both are spliced in where
 * they stand; everything else, known to us or not, goes on byte for byte.
 */
export function requestBody(body: RequestBody, target: TargetTable, depth: UsageDepth): Buffer {
  const edits: Edit[] = []
  if (target.upstreamModel !== body.model) {
    const span = body.members.spans.get('model')
    if (span) edits.push({ start: span.start, end: span.end, text: JSON.stringify(target.upstreamModel) })
  }
  if (body.stream && depth !== 'none') addUsageRequest(body, depth, edits)
  if (edits.length === 0) return body.bytes
  return applyEdits(
    body.bytes,
    edits.sort((a, b) => a.start - b.start),
  )
}

const optionNames = ['include_usage', 'continuous_usage_stats'] as const

function addUsageRequest(body: RequestBody, depth: UsageDepth, edits: Edit[]): void {
  const span = body.members.spans.get('stream_options')
  const options = span ? findMembers(body.bytes, span.start, optionNames) : null
  if (options === null) {
    const text =
      depth === 'continuous' ? '{"include_usage":true,"continuous_usage_stats":true}' : '{"include_usage":true}'
    // Absent: a new first member, before the one that is certainly there (`model`). Null: replaced.
    if (span) edits.push({ start: span.start, end: span.end, text })
    else edits.push({ start: body.members.open + 1, end: body.members.open + 1, text: `"stream_options":${text},` })
    return
  }
  let missing = ''
  for (const name of optionNames) {
    if (name === 'continuous_usage_stats' && depth !== 'continuous') continue
    const value = options.spans.get(name)
    if (value) edits.push({ start: value.start, end: value.end, text: 'true' })
    else missing += `${missing === '' ? '' : ','}"${name}":true`
  }
  if (missing !== '') {
    edits.push({ start: options.open + 1, end: options.open + 1, text: options.empty ? missing : `${missing},` })
  }
}
