import type { TargetTable } from '../../../proto/policy/tables.js'
import type { HopRun } from './run-hop.js'

/** Servers get newer, and what stands before them is set up anew. */
const forgottenUs = 600_000_000
/** A server that did not answer in time may just be busy. */
const busyUs = 60_000_000

/**
 * Targets whose server was found not to count tokens: they are asked again ten minutes later (one, where it was only too
 * slow), or when what is applied names
 * them anew. By target, for a server may know one model and not another; each goes when its tables do.
 */
export class CountlessTargets {
  readonly #untilUs = new WeakMap<TargetTable, number>()

  has(target: TargetTable, nowUs: number): boolean {
    const untilUs = this.#untilUs.get(target)
    return untilUs !== undefined && nowUs < untilUs
  }

  /** Looks at how `target` was asked for a count, in vain. */
  learn(target: TargetTable, hop: HopRun, nowUs: number): void {
    const isMissing = missing.has(hop.call?.httpStatus ?? 0)
    // A whole answer without a count is of a server that has something else there.
    if (isMissing || hop.outcome === 'malformed') this.#untilUs.set(target, nowUs + forgottenUs)
    else if (hop.outcome.startsWith('timeout_')) this.#untilUs.set(target, nowUs + busyUs)
  }
}

/** No such path, method or feature; and what proxies say of paths that are not for everybody. */
const missing: ReadonlySet<number> = new Set([401, 403, 404, 405, 501])
