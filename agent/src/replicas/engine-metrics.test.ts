import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type EngineMetrics, readEngineMetrics } from './engine-metrics.js'

const labels = '{engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"}'
/** As vLLM writes it, from 0.10 on. */
const vllm = `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running${labels} 7.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting${labels} 3.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc${labels} 0.625
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total${labels} 1000.0
# TYPE vllm:prefix_cache_queries_created gauge
vllm:prefix_cache_queries_created${labels} 1.7537953269352946e+09
vllm:prefix_cache_hits_total${labels} 250.0
vllm:prompt_tokens_total${labels} 1.234e+06
vllm:generation_tokens_total${labels} 5678.0
vllm:cache_config_info{block_size="16",cache_dtype="auto",enable_prefix_caching="True",num_gpu_blocks="27500",num_gpu_blocks_override="None"} 1.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.001",model_name="m"} 0.0
vllm:time_to_first_token_seconds_sum${labels} 2.5
vllm:time_to_first_token_seconds_count${labels} 10.0
vllm:inter_token_latency_seconds_sum${labels} 4.0
vllm:inter_token_latency_seconds_count${labels} 200.0
vllm:request_queue_time_seconds_bucket{engine="0",le="0.3",model_name="m"} 8.0
vllm:request_queue_time_seconds_sum${labels} 1.5
vllm:request_queue_time_seconds_count${labels} 10.0
`
const read = (text: string) => readEngineMetrics(text) as EngineMetrics

describe('what an engine says of itself', () => {
  it('is read from vLLM', () => {
    expect(readEngineMetrics(vllm)).toEqual({
      ...{ engine: 'vllm', runningCount: 7, waitingCount: 3, kvUsageRatio: 0.625, cacheTokensMax: 440_000 },
      ...{ gpuUtilisationRatio: null, bornSeconds: null },
      counters: {
        ...{ promptTokens: 1_234_000, generationTokens: 5_678, prefixQueriedTokens: 1_000, prefixHitTokens: 250 },
        ...{ firstTokenSecondsSum: 2.5, firstTokenCount: 10, interTokenSecondsSum: 4, interTokenCount: 200 },
        ...{ queueSecondsSum: 1.5, queueCount: 10 },
      },
    })
  })

  it.each<[string, string, Partial<EngineMetrics>]>([
    [
      'vLLM before 0.10',
      vllm.replaceAll('vllm:kv_cache_usage_perc', 'vllm:gpu_cache_usage_perc'),
      { engine: 'vllm', kvUsageRatio: 0.625 },
    ],
    [
      'vLLM with both names, of which the newer counts',
      `${vllm}vllm:gpu_cache_usage_perc${labels} 0.1\n`,
      { kvUsageRatio: 0.625 },
    ],
    [
      'vLLM with several engines: counts add up, shares are averaged, memory adds up',
      vllm + vllm.replaceAll('engine="0"', 'engine="1"').replaceAll('0.625', '0.125'),
      { runningCount: 14, waitingCount: 6, kvUsageRatio: 0.375, cacheTokensMax: 880_000 },
    ],
    [
      'SGLang',
      'sglang:num_running_reqs{model_name="m"} 4\nsglang:num_queue_reqs{model_name="m"} 2\nsglang:token_usage{model_name="m"} 0.28\n',
      { engine: 'sglang', runningCount: 4, waitingCount: 2, kvUsageRatio: 0.28, cacheTokensMax: null },
    ],
    [
      'llama.cpp, which stopped telling its memory',
      'llamacpp:requests_processing 1\nllamacpp:requests_deferred 0\n',
      { engine: 'llama.cpp', runningCount: 1, waitingCount: 0, kvUsageRatio: null },
    ],
    [
      'processors on the same page',
      `${vllm}DCGM_FI_DEV_GPU_UTIL{gpu="0",modelName="H100"} 90\nDCGM_FI_DEV_GPU_UTIL{gpu="1",modelName="H100"} 30\n`,
      { gpuUtilisationRatio: 0.6 },
    ],
    [
      'lines with a time and Windows line ends',
      vllm.replaceAll('.0\n', '.0 1753795326935\r\n'),
      { runningCount: 7, waitingCount: 3 },
    ],
    ['a last line without its end', vllm.trimEnd(), { runningCount: 7 }],
    [
      'a model whose name has braces',
      vllm.replaceAll('meta-llama/', '{x} y} '),
      { runningCount: 7, kvUsageRatio: 0.625 },
    ],
    ['a process that tells its age', `${vllm}process_start_time_seconds 1.75e+09\n`, { bornSeconds: 1_750_000_000 }],
    [
      'counters that tell theirs',
      `${vllm}vllm:prompt_tokens_created${labels} 1.75e+09\n`,
      { bornSeconds: 1_750_000_000 },
    ],
    ['a share above its whole', vllm.replace('0.625', '1.0001'), { kvUsageRatio: 1 }],
  ])('is read from %s', (_, text, expected) => {
    expect(readEngineMetrics(text)).toMatchObject(expected)
  })

  it.each<[string, string, string]>([
    ['nothing', '', 'no_engine'],
    ['a page of something else', '<html><body>vllm:num_requests_running 1</body></html>', 'no_engine'],
    ['processors alone', 'DCGM_FI_DEV_GPU_UTIL{gpu="0"} 90\n', 'no_engine'],
    [
      'vLLM under names that nobody knows yet',
      vllm.replaceAll('kv_cache_usage_perc', 'kv_memory_ratio'),
      'unknown_names',
    ],
    ['vLLM that does not tell its queue', vllm.replaceAll('num_requests_waiting', 'queue_depth'), 'unknown_names'],
    ['numbers that are none', vllm.replace('0.625', 'NaN'), 'unknown_names'],
    ['a count below nothing', vllm.replace(' 7.0', ' -1.0'), 'unknown_names'],
  ])('is said to be unknown: %s', (_, text, refusal) => {
    expect(readEngineMetrics(text)).toBe(refusal)
  })

  it('that is not told is not zero', () => {
    const { counters, cacheTokensMax } = read(
      'vllm:num_requests_running 1\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0.5\n',
    )
    expect([cacheTokensMax, ...Object.values(counters)].every((value) => value === null)).toBe(true)
  })

  it('is not spoilt by anything between its lines', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 40 })), fc.nat(), (noise, at) => {
        const lines = vllm.split('\n')
        const clean = noise.map((line) => `# ${line.replaceAll('\n', '')}`)
        lines.splice(at % lines.length, 0, ...clean)
        expect(readEngineMetrics(lines.join('\n'))).toEqual(readEngineMetrics(vllm))
      }),
    )
  })

  it('never throws, whatever is there', () => {
    const pieces = fc.constantFrom(...vllm.split(/(?<=[\n{}" ])/), '\n', '{', '}', '"', 'NaN', '-', '\0')
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 60 }), (parts) => {
        const metrics = readEngineMetrics(parts.join(''))
        if (typeof metrics === 'string') return
        for (const value of [
          metrics.runningCount,
          metrics.waitingCount,
          metrics.kvUsageRatio ?? 0,
          metrics.cacheTokensMax ?? 0,
        ]) {
          expect(Number.isFinite(value) && value >= 0).toBe(true)
        }
      }),
    )
  })
})
