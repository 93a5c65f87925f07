import type { Clock } from '../../../../proto/std/clock.js'
import type { AuthorizationFault } from '../provider-dialect.js'
import type { TokenClient } from '../token-client.js'
import { type AccessToken, readAccessToken, unreachable } from './access-token.js'

export interface MetadataOptions {
  readonly clock: Clock
  readonly client: TokenClient
  readonly timeoutMs: number
}

/**
 * Google's machines are told who they are by a server of their own. Source: Google Cloud's documentation, "About VM
 * metadata" and "Authenticate workloads to Google Cloud APIs using service accounts". Never rejects.
 */
export async function askMetadataServer(
  metadataHost: string,
  { clock, client, timeoutMs }: MetadataOptions,
): Promise<AccessToken | AuthorizationFault> {
  const nowMs = clock.nowMs()
  try {
    const answer = await client.call({
      method: 'GET',
      url: `${metadataHost}/computeMetadata/v1/instance/service-accounts/default/token`,
      // The server refuses whoever does not say it: no page in a browser can.
      headers: { 'metadata-flavor': 'Google' },
      body: null,
      timeoutMs,
      ambient: true,
    })
    return readAccessToken(answer, nowMs, 'the metadata server')
  } catch (fault) {
    return unreachable('the metadata server', fault)
  }
}
