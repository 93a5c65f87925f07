import { usageRecordCodec } from '../../../proto/gen/codec.js'

/**
 * The record of a request whose agent was killed while it ran, from its open frame alone. The same frame always gives
 * the same bytes, so that a recovery that runs twice cannot tell two stories. When it ended and what the upstream
 * generated is unknown: no tokens, no cost, no latency.
 */
export function interruptedRecord(open: Uint8Array): Uint8Array {
  return usageRecordCodec.encode({
    ...usageRecordCodec.decode(open),
    status: 'interrupted',
    code: 'agent_interrupted',
    usageSource: 'none',
  })
}
