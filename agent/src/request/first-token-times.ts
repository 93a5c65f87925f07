/**
 * How long one target takes to its first token, of late: a histogram that forgets, for percentiles, and a moving average
 * that knows peaks, for choosing. Of whole answers the answer is the first token. A hundred and some bytes, one logarithm
 * and two additions per request.
 */
const firstBoundUs = 1_000
/** Each bucket ends a fifth above the one before: 64 of them reach from a millisecond to a hundred seconds. */
const growth = 1.2
const bucketCount = 64
const perBucket = 1 / Math.log2(growth)
/** When so many are counted all counts are halved, so that the newest few hundred decide. */
const countMax = 512
/** A peak has lost two thirds of its weight after so long. */
const decayUs = 10_000_000

export class FirstTokenTimes {
  readonly #counts = new Uint16Array(bucketCount)
  #count = 0
  #averageUs = 0
  #observedUs = 0

  /** Samples that percentiles are made of. */
  get count(): number {
    return this.#count
  }

  observe(durationUs: number, nowUs: number): void {
    const bucket = bucketOf(durationUs)
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.#count += 1
    if (this.#count >= countMax) this.#halve()
    this.#average(durationUs, nowUs)
  }

  /** It took longer than `durationUs`, how much longer nobody waited to see: no sample, but a peak it may be. */
  exceeded(durationUs: number, nowUs: number): void {
    if (durationUs > this.averageUs(nowUs)) this.#average(durationUs, nowUs)
  }

  /**
   * Up at once, down slowly; and while nobody asks the target it sinks, so that one which was slow is tried again. Only
   * where something was observed.
   */
  averageUs(nowUs: number): number {
    return this.#averageUs * Math.exp((this.#observedUs - nowUs) / decayUs)
  }

  get known(): boolean {
    return this.#averageUs > 0
  }

  /** The bound below which a share `ratio` of the samples are, microseconds; at most a fifth too high. Only where there are some. */
  percentileUs(ratio: number): number {
    let rest = this.#count - Math.ceil(this.#count * ratio)
    for (let bucket = bucketCount - 1; bucket > 0; bucket--) {
      rest -= this.#counts[bucket] ?? 0
      if (rest < 0) return boundUs(bucket)
    }
    return boundUs(0)
  }

  clear(): void {
    this.#counts.fill(0)
    this.#count = 0
    this.#averageUs = 0
  }

  #average(durationUs: number, nowUs: number): void {
    const sampleUs = Math.max(1, durationUs)
    if (sampleUs < this.#averageUs) {
      const weight = Math.exp((this.#observedUs - nowUs) / decayUs)
      this.#averageUs = this.#averageUs * weight + sampleUs * (1 - weight)
    } else this.#averageUs = sampleUs
    this.#observedUs = nowUs
  }

  #halve(): void {
    let count = 0
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      const half = (this.#counts[bucket] ?? 0) >> 1
      this.#counts[bucket] = half
      count += half
    }
    this.#count = count
  }
}

function bucketOf(durationUs: number): number {
  if (durationUs <= firstBoundUs) return 0
  return Math.min(bucketCount - 1, Math.ceil(Math.log2(durationUs / firstBoundUs) * perBucket))
}

function boundUs(bucket: number): number {
  return Math.round(firstBoundUs * growth ** bucket)
}
