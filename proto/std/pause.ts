import type { Clock } from './clock.js'

/**
 * Awaited between the steps of long work: gives the event loop back once `sliceMs` have been used since the last time, and
 * otherwise costs nothing worth speaking of.
 */
export type Pause = () => Promise<void> | undefined

/** A pause of its own for one piece of work, or shared by what runs one after the other. */
export function pauseEvery(sliceMs: number, clock: Clock): Pause {
  let sinceUs = clock.monotonicUs()
  return () => {
    if (clock.monotonicUs() - sinceUs < sliceMs * 1000) return undefined
    return new Promise((resolve) =>
      setImmediate(() => {
        sinceUs = clock.monotonicUs()
        resolve()
      }),
    )
  }
}
