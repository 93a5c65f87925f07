/**
 * Requests as teams send them: conversations that begin with one of a few hundred shared instructions, of which few are used
 * a lot and most hardly ever (Zipf 1.1), and then go on for some turns, each sending everything said before. Seeded: the
 * same seed, the same trace.
 */
export interface TraceOptions {
  readonly seed: number
  readonly requestCount: number
  readonly prefixCount: number
  readonly zipfExponent: number
  /** New conversations a second. */
  readonly conversationsPerSecond: number
  /** Mean number of turns; geometric. */
  readonly turnsMean: number
  readonly pauseSecondsMean: number
  /** Of a shared beginning, and of a conversation's first message; log-uniform. */
  readonly prefixTokens: readonly [min: number, max: number]
  readonly firstTokens: readonly [min: number, max: number]
}

export const traceDefault: TraceOptions = Object.freeze<TraceOptions>({
  ...{ seed: 1, requestCount: 12_000, prefixCount: 400, zipfExponent: 1.1 },
  ...{ conversationsPerSecond: 3, turnsMean: 4, pauseSecondsMean: 20 },
  ...{ prefixTokens: [300, 4_000], firstTokens: [100, 6_000] },
})

export interface Segment {
  readonly id: number
  readonly role: 'system' | 'user' | 'assistant'
  readonly text: string
}

export interface TraceRequest {
  readonly atUs: number
  /** What the model is shown, from its beginning. A segment always has the same ones before it. */
  readonly segments: readonly Segment[]
  /** What the model says; the next turn's prompt goes on with it. */
  readonly answer: Segment
  readonly answerTokens: number
}

export interface Trace {
  readonly requests: readonly TraceRequest[]
  /** By rank: the first is used most. */
  readonly prefixes: readonly Segment[]
}

export const charactersPerToken = 3.7

export function makeTrace(options: TraceOptions): Trace {
  const random = seeded(options.seed)
  let segmentCount = 0
  const segment = (role: Segment['role'], tokens: number): Segment => {
    const id = segmentCount++
    return { id, role, text: textOf(id, Math.round(tokens * charactersPerToken)) }
  }
  const between = (min: number, max: number) => Math.exp(Math.log(min) + random() * (Math.log(max) - Math.log(min)))
  const exponential = (mean: number) => -mean * Math.log(1 - random())
  const prefixes = Array.from({ length: options.prefixCount }, () =>
    segment('system', between(...options.prefixTokens)),
  )
  const drawPrefix = zipf(prefixes, options.zipfExponent, random)
  const requests: TraceRequest[] = []
  let nowSeconds = 0
  // Conversations that begin later end later: drawn in order of their beginning, cut at the time of the last one begun.
  while (requests.length < options.requestCount * 1.2) {
    nowSeconds += exponential(1 / options.conversationsPerSecond)
    let atSeconds = nowSeconds
    let said: readonly Segment[] = [drawPrefix()]
    for (let goesOn = true; goesOn; goesOn = random() < 1 - 1 / options.turnsMean) {
      // The first often brings a document.
      said = [...said, segment('user', said.length === 1 ? between(...options.firstTokens) : between(30, 600))]
      const answerTokens = Math.round(between(40, 500))
      const answer = segment('assistant', answerTokens)
      requests.push({ atUs: Math.round(atSeconds * 1_000_000), segments: said, answer, answerTokens })
      said = [...said, answer]
      atSeconds += 2 + exponential(options.pauseSecondsMean)
    }
  }
  requests.sort((a, b) => a.atUs - b.atUs)
  return { requests: requests.slice(0, options.requestCount), prefixes }
}

/** Numbers in [0, 1) that depend on the seed alone (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b_79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

function zipf<T>(items: readonly T[], exponent: number, random: () => number): () => T {
  const bounds: number[] = []
  let sum = 0
  for (let rank = 1; rank <= items.length; rank++) {
    sum += 1 / rank ** exponent
    bounds.push(sum)
  }
  return () => {
    const drawn = random() * sum
    return items[bounds.findIndex((bound) => drawn < bound)] as T
  }
}

/** Text of its own for each segment. */
function textOf(id: number, characters: number): string {
  const unit = `s${id} `
  return unit.repeat(Math.ceil(characters / unit.length)).slice(0, characters)
}
