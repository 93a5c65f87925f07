/** Small statistics for benches. Everything here is a function of its arguments. */

/** Value below which `share` (0..1) of the ascending `sorted` lie. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** 95 % interval of the median by resampling; the same values give the same interval. */
export function medianInterval(values: readonly number[], resamples = 2_000): { low: number; high: number } {
  const random = generator(values.length)
  const medians: number[] = []
  for (let i = 0; i < resamples; i++) {
    medians.push(median(values.map(() => values[Math.floor(random() * values.length)] ?? Number.NaN)))
  }
  medians.sort((a, b) => a - b)
  return { low: percentile(medians, 0.025), high: percentile(medians, 0.975) }
}

/** Mulberry32: numbers in [0, 1) from a seed. */
export function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
