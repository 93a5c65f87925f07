import type { TargetTable } from '../../../../proto/policy/tables.js'
import type { Conversation } from '../../conversation/conversation.js'
import { countOf } from '../../conversation/json-object.js'
import type { Losses } from '../../conversation/losses.js'
import { readMembers } from '../json-reader.js'
import { messagesOf, toolOf } from './write-request.js'

/**
 * How vLLM counts: it writes the prompt out by the model's own template and tokenizes it. Source: vLLM's
 * `TokenizeChatRequest` and `TokenizeResponse`. It stands beside the API, as the metrics do.
 */
export function tokenizePath({ provider }: TargetTable): string {
  return `${provider.basePath.replace(/\/v\d+$/, '')}/tokenize`
}

/** The same messages and tools as `writeChatRequest` writes: what is counted is what would be sent. */
export function writeTokenizeRequest(conversation: Conversation, target: TargetTable, losses: Losses): Buffer {
  const { tools } = conversation
  return Buffer.from(
    JSON.stringify({
      model: target.upstreamModel,
      messages: messagesOf(conversation, losses),
      add_generation_prompt: true,
      ...(tools.length === 0 ? {} : { tools: tools.map(toolOf) }),
    }),
  )
}

/** Null: no count. Others have something else at that path (llama.cpp: tokens of a text, and none of messages). */
export function readTokenCount(bytes: Buffer): number | null {
  return countOf(readMembers(bytes, ['count'])?.['count'])
}
