import { throwRefusal } from '../../proto/std/refusal.js'

/** Who answers the demo's requests. */
export interface Upstream {
  /** Name of the provider in the demo tenant; another upstream is another provider. */
  readonly providerName: DemoProviderName
  readonly kind: 'OPENAI' | 'VLLM' | 'OPENAI_COMPATIBLE'
  readonly baseUrl: string
  /** Stored sealed in the control plane, as any tenant's key would be. */
  readonly secret: string | null
  readonly models: readonly UpstreamModel[]
}

export interface UpstreamModel {
  /** What a client puts into `model`. */
  readonly route: string
  readonly name: string
  readonly capability: 'CHAT' | 'EMBEDDINGS'
  readonly inputUsdPerMillion: string
  readonly outputUsdPerMillion: string
}

/** Every provider that a start may have made; another choice than today's is absent today. */
export const demoProviderNames = ['simulator', 'openai', 'upstream'] as const
export type DemoProviderName = (typeof demoProviderNames)[number]

/** Prices that make a demo's costs visible; those of the simulator are made up. */
export function simulatorUpstream(simulatorUrl: string): Upstream {
  return {
    providerName: 'simulator',
    // It speaks vLLM's extensions too, so the tokens of an aborted stream are known.
    kind: 'VLLM',
    baseUrl: `${simulatorUrl}/v1`,
    secret: null,
    models: [
      { ...chat('chat', 'simulator-small'), inputUsdPerMillion: '0.15', outputUsdPerMillion: '0.60' },
      { ...chat('chat-large', 'simulator-large'), inputUsdPerMillion: '2.50', outputUsdPerMillion: '10.00' },
      {
        route: 'embed',
        name: 'simulator-embedding',
        capability: 'EMBEDDINGS',
        inputUsdPerMillion: '0.02',
        outputUsdPerMillion: '0',
      },
    ],
  }
}

function chat(route: string, name: string): UpstreamModel {
  return { route, name, capability: 'CHAT', inputUsdPerMillion: '0', outputUsdPerMillion: '0' }
}

export interface UpstreamChoice {
  /** `openai`, or the base URL of an OpenAI-compatible server. */
  upstream: string
  model: string | null
  environment: Readonly<Record<string, string | undefined>>
}

/** A real upstream, asked for its models unless one is named. Refuses when it does not answer. */
export async function fetchUpstream(choice: UpstreamChoice): Promise<Upstream> {
  if (choice.upstream === 'openai') {
    const model = choice.model ?? 'gpt-4o-mini'
    const embedding = 'text-embedding-3-small'
    return {
      providerName: 'openai',
      kind: 'OPENAI',
      baseUrl: choice.environment['OPENAI_BASE_URL'] ?? 'https://api.openai.com/v1',
      secret: choice.environment['OPENAI_API_KEY'] ?? null,
      models: [
        { ...chat('chat', model), inputUsdPerMillion: '0.15', outputUsdPerMillion: '0.60' },
        {
          route: 'embed',
          name: embedding,
          capability: 'EMBEDDINGS',
          inputUsdPerMillion: '0.02',
          outputUsdPerMillion: '0',
        },
      ],
    }
  }
  const baseUrl = choice.upstream.replace(/\/+$/, '')
  const secret = choice.environment['UPSTREAM_API_KEY'] ?? null
  return {
    providerName: 'upstream',
    kind: 'OPENAI_COMPATIBLE',
    baseUrl,
    secret,
    models: [chat('chat', choice.model ?? (await fetchFirstModel(baseUrl, secret)))],
  }
}

async function fetchFirstModel(baseUrl: string, secret: string | null): Promise<string> {
  const hint = `start it, or name its model: npm start -- --upstream ${baseUrl} --model NAME`
  let answer: { data?: { id?: string }[] }
  try {
    const response = await fetch(`${baseUrl}/models`, {
      headers: secret === null ? {} : { authorization: `Bearer ${secret}` },
      signal: AbortSignal.timeout(10_000),
    })
    if (!response.ok) throw new Error(`it answers ${response.status}`)
    answer = (await response.json()) as typeof answer
  } catch (fault) {
    const cause = fault instanceof Error && fault.cause instanceof Error ? fault.cause.message : String(fault)
    return throwRefusal('unavailable', `the upstream ${baseUrl} does not list its models (${cause}); ${hint}`)
  }
  const id = answer.data?.[0]?.id
  return id ?? throwRefusal('unavailable', `the upstream ${baseUrl} lists no model; ${hint}`)
}
