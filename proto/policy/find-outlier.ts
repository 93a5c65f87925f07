/**
 * Which target of a rule does so much worse than the others that it is better left alone for a while: most of the others'
 * requests succeed and its do not, or the same model answers several times slower there. Compared is only what can be: how
 * fast, among targets with the same model (a fallback to a smaller model is quicker and no reason to leave the better one);
 * how often it fails, among all.
 *
 * Never the last: somebody is left, and at least half of the targets are.
 */
export interface TargetSample {
  readonly modelId: string
  /** Left alone already, for whatever reason. */
  readonly away: boolean
  /** Requests, and failures among them, of late. */
  readonly requestCount: number
  readonly failureCount: number
  /** Median time to its first token of late, microseconds; null where there were too few. */
  readonly medianUs: number | null
}

/** Fewer say nothing of how often it fails. */
const requestsMin = 20
/** Share of failures above that of the others. */
const failureRatioAbove = 0.25
/** Times the median of the others, and at least so much above it: what is quick anyway is no outlier. */
const latencyFactor = 3
const latencyAboveUs = 500_000

/** Index of the one to leave alone, the worst first; -1: none. */
export function findOutlier(samples: readonly TargetSample[]): number {
  const awayCount = samples.filter(({ away }) => away).length
  const present = samples.filter(({ away }) => !away)
  if (present.length < 2 || (awayCount + 1) * 2 > samples.length) return -1
  const outlier = failing(present.filter(({ requestCount }) => requestCount >= requestsMin)) ?? slow(present)
  return outlier === null ? -1 : samples.indexOf(outlier)
}

function failing(judged: readonly TargetSample[]): TargetSample | null {
  if (judged.length < 2) return null
  const worst = judged.reduce((a, b) => (ratioOf(b) > ratioOf(a) ? b : a))
  const others = judged.filter((one) => one !== worst)
  const failureCount = others.reduce((sum, one) => sum + one.failureCount, 0)
  const requestCount = others.reduce((sum, one) => sum + one.requestCount, 0)
  return ratioOf(worst) >= failureCount / requestCount + failureRatioAbove ? worst : null
}

function ratioOf({ failureCount, requestCount }: TargetSample): number {
  return failureCount / requestCount
}

function slow(present: readonly TargetSample[]): TargetSample | null {
  let slowest: TargetSample | null = null
  let slowestUs = 0
  for (const one of present) {
    const { medianUs } = one
    const others = present.flatMap((other) =>
      other !== one && other.modelId === one.modelId && other.medianUs !== null ? [other.medianUs] : [],
    )
    if (medianUs === null || others.length === 0 || medianUs <= slowestUs) continue
    const middleUs = middleOf(others)
    if (medianUs < middleUs * latencyFactor || medianUs < middleUs + latencyAboveUs) continue
    slowest = one
    slowestUs = medianUs
  }
  return slowest
}

/** The lower one of two in the middle. */
function middleOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[(sorted.length - 1) >> 1] ?? 0
}
