import type { Clock } from '../../../proto/std/clock.js'
import type { AccessTokens } from './access-tokens.js'
import type { AmbientSources } from './ambient.js'
import { anthropicDialect } from './anthropic/dialect.js'
import { azureOpenaiDialect } from './azure-openai/dialect.js'
import { bedrockDialect } from './bedrock/dialect.js'
import { openaiDialect, openaiOwnDialect } from './openai/dialect.js'
import type { ProviderDialect } from './provider-dialect.js'
import type { TokenClient } from './token-client.js'
import { vertexDialect } from './vertex/dialect.js'

/** What dialects need that sign their calls or exchange their credentials. */
export interface DialectTools {
  readonly clock: Clock
  readonly tokens: AccessTokens
  readonly client: TokenClient
  readonly ambient: AmbientSources
}

export class Dialects {
  readonly #byKind: ReadonlyMap<string, ProviderDialect>

  constructor(tools: DialectTools) {
    this.#byKind = new Map<string, ProviderDialect>([
      ['openai', openaiOwnDialect],
      ['anthropic', anthropicDialect],
      ['azure-openai', azureOpenaiDialect(tools)],
      ['bedrock', bedrockDialect(tools)],
      ['vertex', vertexDialect(tools)],
      ['vllm', openaiDialect],
      ['ollama', openaiDialect],
      ['openai-compatible', openaiDialect],
    ])
  }

  /**
   * The wire that providers of `kind` speak; null for a kind that this agent does not know yet, or that serves no operation: a
   * `classifier` is asked by `request/ask-classifier` alone.
   */
  find(kind: string): ProviderDialect | null {
    return this.#byKind.get(kind) ?? null
  }
}
