import type { TargetTable } from '../../../../proto/policy/tables.js'
import { applyEdits } from '../json-members.js'
import type { RequestBody } from '../provider-dialect.js'

/** The client's bytes with the upstream's model name; everything else, known to us or not, goes on byte for byte. */
export function requestBody(body: RequestBody, target: TargetTable): Buffer {
  const span = body.members.spans.get('model')
  if (span === undefined || target.upstreamModel === body.model) return body.bytes
  return applyEdits(body.bytes, [{ start: span.start, end: span.end, text: JSON.stringify(target.upstreamModel) }])
}
