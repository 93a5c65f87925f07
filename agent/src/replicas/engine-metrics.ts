/**
 * What an inference server says about itself in Prometheus' text format, as far as the choice of a replica and the operator
 * need it. Engines name the same things differently, and the same engine renames them between versions (vLLM 0.10 took away
 * the name by which every router knew its memory), so names are rows of a table here, and a text in which an engine speaks
 * but what is needed is not found says so: it is not silently zero.
 *
 * Sources: vLLM, "Production Metrics" and "Metrics" (design); SGLang, "Production Metrics"; llama.cpp's server README;
 * NVIDIA's dcgm-exporter, for servers that hand out both on one page.
 */
export interface EngineMetrics {
  readonly engine: Engine
  readonly runningCount: number
  readonly waitingCount: number
  /** Key-value memory held by running requests, 0..1; null: not told. */
  readonly kvUsageRatio: number | null
  /** Tokens that its key-value memory holds; null: not told. */
  readonly cacheTokensMax: number | null
  readonly counters: EngineCounters
  /** When its process, or its counters, began, seconds since 1970; null: not told. */
  readonly bornSeconds: number | null
  /** Mean of its processors, 0..1; null: not told. */
  readonly gpuUtilisationRatio: number | null
}

/** Totals since the server started; null: not told. */
export interface EngineCounters {
  readonly promptTokens: number | null
  readonly generationTokens: number | null
  /** Prompt tokens looked up in its prefix cache, and those found. */
  readonly prefixQueriedTokens: number | null
  readonly prefixHitTokens: number | null
  readonly firstTokenSecondsSum: number | null
  readonly firstTokenCount: number | null
  readonly interTokenSecondsSum: number | null
  readonly interTokenCount: number | null
  /** Time that requests waited for a place in a batch. */
  readonly queueSecondsSum: number | null
  readonly queueCount: number | null
}

export type Engine = 'vllm' | 'sglang' | 'llama.cpp'

/** Why a text is of no use. `unknown_names`: an engine that we know, under names that we do not. */
export type EngineRefusal = 'no_engine' | 'unknown_names'

type Measure = 'running' | 'waiting' | 'kv' | 'kvOlder' | 'born' | 'bornCounter' | 'gpuPercent' | keyof EngineCounters

const measures: ReadonlyMap<string, Measure> = new Map<string, Measure>([
  ['vllm:num_requests_running', 'running'],
  ['vllm:num_requests_waiting', 'waiting'],
  ['vllm:kv_cache_usage_perc', 'kv'],
  // Until 0.9; for some versions both are there, and then they agree.
  ['vllm:gpu_cache_usage_perc', 'kvOlder'],
  ['vllm:prompt_tokens_total', 'promptTokens'],
  ['vllm:generation_tokens_total', 'generationTokens'],
  // Of Python's client, beside each counter; the process tells its own age only where it is one.
  ['vllm:prompt_tokens_created', 'bornCounter'],
  ['vllm:prefix_cache_queries_total', 'prefixQueriedTokens'],
  ['vllm:prefix_cache_hits_total', 'prefixHitTokens'],
  ['vllm:time_to_first_token_seconds_sum', 'firstTokenSecondsSum'],
  ['vllm:time_to_first_token_seconds_count', 'firstTokenCount'],
  ['vllm:inter_token_latency_seconds_sum', 'interTokenSecondsSum'],
  ['vllm:inter_token_latency_seconds_count', 'interTokenCount'],
  ['vllm:time_per_output_token_seconds_sum', 'interTokenSecondsSum'],
  ['vllm:time_per_output_token_seconds_count', 'interTokenCount'],
  ['vllm:request_queue_time_seconds_sum', 'queueSecondsSum'],
  ['vllm:request_queue_time_seconds_count', 'queueCount'],
  ['sglang:num_running_reqs', 'running'],
  ['sglang:num_queue_reqs', 'waiting'],
  ['sglang:token_usage', 'kv'],
  ['sglang:prompt_tokens_total', 'promptTokens'],
  ['sglang:generation_tokens_total', 'generationTokens'],
  ['sglang:time_to_first_token_seconds_sum', 'firstTokenSecondsSum'],
  ['sglang:time_to_first_token_seconds_count', 'firstTokenCount'],
  ['llamacpp:requests_processing', 'running'],
  ['llamacpp:requests_deferred', 'waiting'],
  ['llamacpp:kv_cache_usage_ratio', 'kv'],
  ['llamacpp:prompt_tokens_total', 'promptTokens'],
  ['llamacpp:tokens_predicted_total', 'generationTokens'],
  ['process_start_time_seconds', 'born'],
  ['DCGM_FI_DEV_GPU_UTIL', 'gpuPercent'],
])
const cacheConfigName = 'vllm:cache_config_info'

const engines: readonly (readonly [prefix: string, engine: Engine])[] = [
  ['vllm:', 'vllm'],
  ['sglang:', 'sglang'],
  ['llamacpp:', 'llama.cpp'],
]
/** First characters of names that matter: most lines are left at a glance. */
const initials: ReadonlySet<number> = new Set([...'vslpD'].map((letter) => letter.charCodeAt(0)))

export function readEngineMetrics(text: string): EngineMetrics | EngineRefusal {
  const sums = new Map<Measure, { sum: number; count: number }>()
  let engine: Engine | null = null
  let cacheTokensMax: number | null = null
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf('\n', start)
    const end = newline === -1 ? text.length : newline
    if (initials.has(text.charCodeAt(start))) {
      const line = text.slice(start, end)
      engine ??= engines.find(([prefix]) => line.startsWith(prefix))?.[1] ?? null
      const name = nameOf(line)
      const measure = measures.get(name)
      if (measure !== undefined) add(sums, measure, readingOf(line))
      else if (name === cacheConfigName) cacheTokensMax = (cacheTokensMax ?? 0) + cacheTokensOf(line)
    }
    start = end + 1
  }
  if (engine === null) return 'no_engine'
  const running = sumOf(sums, 'running')
  const waiting = sumOf(sums, 'waiting')
  const kvUsageRatio = meanOf(sums, 'kv') ?? meanOf(sums, 'kvOlder')
  // llama.cpp stopped telling its memory; the other two always do.
  if (running === null || waiting === null || (kvUsageRatio === null && engine !== 'llama.cpp')) return 'unknown_names'
  const gpuPercent = meanOf(sums, 'gpuPercent')
  return Object.freeze({
    engine,
    runningCount: running,
    waitingCount: waiting,
    kvUsageRatio: kvUsageRatio === null ? null : Math.min(1, Math.max(0, kvUsageRatio)),
    cacheTokensMax: cacheTokensMax === 0 ? null : cacheTokensMax,
    bornSeconds: meanOf(sums, 'born') ?? meanOf(sums, 'bornCounter'),
    gpuUtilisationRatio: gpuPercent === null ? null : Math.min(1, Math.max(0, gpuPercent / 100)),
    counters: Object.freeze({
      promptTokens: sumOf(sums, 'promptTokens'),
      generationTokens: sumOf(sums, 'generationTokens'),
      prefixQueriedTokens: sumOf(sums, 'prefixQueriedTokens'),
      prefixHitTokens: sumOf(sums, 'prefixHitTokens'),
      firstTokenSecondsSum: sumOf(sums, 'firstTokenSecondsSum'),
      firstTokenCount: sumOf(sums, 'firstTokenCount'),
      interTokenSecondsSum: sumOf(sums, 'interTokenSecondsSum'),
      interTokenCount: sumOf(sums, 'interTokenCount'),
      queueSecondsSum: sumOf(sums, 'queueSecondsSum'),
      queueCount: sumOf(sums, 'queueCount'),
    }),
  })
}

/** Engines of one server (data parallel ones have a line each) add up; shares of them are averaged. */
function add(sums: Map<Measure, { sum: number; count: number }>, measure: Measure, value: number): void {
  if (!Number.isFinite(value) || value < 0) return
  const known = sums.get(measure)
  if (known === undefined) sums.set(measure, { sum: value, count: 1 })
  else {
    known.sum += value
    known.count += 1
  }
}

function sumOf(sums: ReadonlyMap<Measure, { sum: number }>, measure: Measure): number | null {
  return sums.get(measure)?.sum ?? null
}

function meanOf(sums: ReadonlyMap<Measure, { sum: number; count: number }>, measure: Measure): number | null {
  const known = sums.get(measure)
  return known === undefined ? null : known.sum / known.count
}

function nameOf(line: string): string {
  const brace = line.indexOf('{')
  const blank = line.indexOf(' ')
  if (brace !== -1 && (blank === -1 || brace < blank)) return line.slice(0, brace)
  return blank === -1 ? line : line.slice(0, blank)
}

/** The value stands after the labels, and a time may stand after it; NaN when there is none. */
function readingOf(line: string): number {
  const brace = line.lastIndexOf('}')
  const [value = ''] = line
    .slice(brace === -1 ? line.indexOf(' ') : brace + 1)
    .trim()
    .split(/\s/)
  return value === '' ? Number.NaN : Number(value)
}

/** `block_size` times `num_gpu_blocks` of the one gauge whose labels are its content; 0: not told. */
function cacheTokensOf(line: string): number {
  const blockTokens = Number(/[{,]block_size="(\d{1,6})"/.exec(line)?.[1] ?? 0)
  const blockCount = Number(/[{,]num_gpu_blocks="(\d{1,9})"/.exec(line)?.[1] ?? 0)
  return blockTokens * blockCount
}
