import type { TargetTable } from '../../../../proto/policy/tables.js'
import { applyEdits, type Edit } from '../json-members.js'
import type { RequestBody } from '../provider-dialect.js'
import { isCarriedItem } from './carried-thought.js'

/**
 * The client's bytes with the upstream's model name and `"store":false` where the client said nothing of it: OpenAI keeps
 * what is not told otherwise. Everything else, known to us or not, goes on byte for byte; only where the input holds
 * thoughts of another vendor's model, which OpenAI would refuse, is it written anew without them.
 */
export function responseRequestBody(body: RequestBody, target: TargetTable): Buffer {
  const { spans, open } = body.members
  const edits: Edit[] = []
  const model = spans.get('model')
  if (model && target.upstreamModel !== body.model) edits.push({ ...model, text: JSON.stringify(target.upstreamModel) })
  const store = spans.get('store')
  // A new first member stands before one that is certainly there (`model`).
  if (!store) edits.push({ start: open + 1, end: open + 1, text: '"store":false,' })
  else if (body.fields['store'] === null) edits.push({ ...store, text: 'false' })
  const input = spans.get('input')
  const items = body.fields['input']
  if (input && Array.isArray(items) && items.some(isCarriedItem)) {
    edits.push({ ...input, text: JSON.stringify(items.filter((item) => !isCarriedItem(item))) })
  }
  if (edits.length === 0) return body.bytes
  return applyEdits(
    body.bytes,
    edits.sort((a, b) => a.start - b.start),
  )
}
