/** Resolves after `ms`, or rejects with the signal's reason as soon as it aborts. */
export function wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    const onAbort = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** A delay for the `attempt`-th retry (from 0): doubling from 200 ms to 5 s, its upper half drawn by lot. */
export function retryDelayMs(attempt: number): number {
  const ceiling = Math.min(5_000, 200 * 2 ** attempt)
  return Math.round(ceiling / 2 + (ceiling / 2) * Math.random())
}
