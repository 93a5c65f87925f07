const latencyBucketsS = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10, 30, 60]
const tokenBuckets = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000]

class Histogram {
  readonly #bounds: readonly number[]
  readonly #counts: number[]
  #sum = 0
  #count = 0

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = bounds.map(() => 0)
  }

  observe(value: number, times = 1): void {
    const index = this.#bounds.findIndex((bound) => value <= bound)
    if (index >= 0) this.#counts[index] = (this.#counts[index] ?? 0) + times
    this.#sum += value * times
    this.#count += times
  }

  lines(name: string, labels: string): string[] {
    let cumulative = 0
    const buckets = this.#bounds.map((bound, index) => {
      cumulative += this.#counts[index] ?? 0
      return `${name}_bucket{${labels},le="${bound}"} ${cumulative}`
    })
    return [
      `# TYPE ${name} histogram`,
      ...buckets,
      `${name}_bucket{${labels},le="+Inf"} ${this.#count}`,
      `${name}_sum{${labels}} ${this.#sum}`,
      `${name}_count{${labels}} ${this.#count}`,
    ]
  }
}

/** Tokens that fit into the pretended key-value cache of one model. */
const cacheTokensMax = 100_000

/** What a vLLM server counts of one model, under vLLM's names, for whoever scrapes the simulator as if it were one. */
export class SimulatorMetrics {
  runningCount = 0
  waitingCount = 0
  heldTokens = 0
  promptTokens = 0
  generationTokens = 0
  readonly #finished = new Map<string, number>()
  readonly firstTokenS = new Histogram(latencyBucketsS)
  readonly interTokenS = new Histogram(latencyBucketsS)
  readonly requestS = new Histogram(latencyBucketsS)
  readonly requestPromptTokens = new Histogram(tokenBuckets)
  readonly requestGenerationTokens = new Histogram(tokenBuckets)

  finish(reason: 'stop' | 'length' | 'abort'): void {
    this.#finished.set(reason, (this.#finished.get(reason) ?? 0) + 1)
  }

  text(model: string): string {
    const labels = `model_name="${model}",engine="0",simulator="true"`
    const usage = Math.min(1, this.heldTokens / cacheTokensMax)
    const gauge = (name: string, value: number) => [`# TYPE ${name} gauge`, `${name}{${labels}} ${value}`]
    const counter = (name: string, value: number) => [`# TYPE ${name} counter`, `${name}{${labels}} ${value}`]
    return [
      ...gauge('vllm:num_requests_running', this.runningCount),
      ...gauge('vllm:num_requests_waiting', this.waitingCount),
      ...gauge('vllm:kv_cache_usage_perc', usage),
      ...gauge('vllm:gpu_cache_usage_perc', usage),
      ...counter('vllm:prompt_tokens_total', this.promptTokens),
      ...counter('vllm:generation_tokens_total', this.generationTokens),
      '# TYPE vllm:request_success_total counter',
      ...['stop', 'length', 'abort'].map(
        (reason) =>
          `vllm:request_success_total{${labels},finished_reason="${reason}"} ${this.#finished.get(reason) ?? 0}`,
      ),
      ...this.firstTokenS.lines('vllm:time_to_first_token_seconds', labels),
      ...this.interTokenS.lines('vllm:time_per_output_token_seconds', labels),
      ...this.requestS.lines('vllm:e2e_request_latency_seconds', labels),
      ...this.requestPromptTokens.lines('vllm:request_prompt_tokens', labels),
      ...this.requestGenerationTokens.lines('vllm:request_generation_tokens', labels),
    ].join('\n')
  }
}
