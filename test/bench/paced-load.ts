import { systemClock } from '../../proto/std/clock.js'
import { ClosedLoad, type LoadResult, type LoadTarget } from './agent-load.js'

/**
 * Requests at a steady pace in small bursts, `burst` every `everyMs`, on kept connections that take turns: less than a
 * server can bear, so that what it is asked is the same whatever it costs. Connections of a burst are neighbours in the
 * order of their making, so that a server that deals them out in turn has an equal share of each burst in each process.
 */
export class PacedLoad {
  readonly #loads: ClosedLoad[]
  readonly #everyMs: number

  constructor(target: LoadTarget, options: { readonly burst: number; readonly everyMs: number }) {
    const { burst, everyMs } = options
    this.#everyMs = everyMs
    this.#loads = Array.from(
      { length: burstsOpen },
      () => new ClosedLoad(target, { stream: false, connectionCount: burst }),
    )
  }

  /** So many bursts, and what is under way then is awaited. A burst waits for the one before on its connections. */
  async run(burstCount: number): Promise<LoadResult> {
    const startUs = systemClock.monotonicUs()
    const running = this.#loads.map(() => Promise.resolve<LoadResult[]>([]))
    for (let index = 0; index < burstCount; index++) {
      const at = index % this.#loads.length
      const load = this.#loads[at]
      if (load === undefined) break
      running[at] = (running[at] ?? Promise.resolve([])).then(async (results) => [...results, await load.run(0)])
      const dueUs = startUs + (index + 1) * this.#everyMs * 1000
      await systemClock.sleep(Math.max(0, (dueUs - systemClock.monotonicUs()) / 1000))
    }
    const results = (await Promise.all(running)).flat()
    const sum = (of: 'requestCount' | 'failedCount') => results.reduce((total, result) => total + result[of], 0)
    return {
      requestCount: sum('requestCount'),
      failedCount: sum('failedCount'),
      seconds: (systemClock.monotonicUs() - startUs) / 1_000_000,
      latenciesMs: results.flatMap(({ latenciesMs }) => latenciesMs).sort((a, b) => a - b),
    }
  }

  close(): void {
    for (const load of this.#loads) load.close()
  }
}

/** As many bursts may be under way. */
const burstsOpen = 8
