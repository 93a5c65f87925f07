/**
 * Calls `task` once what is ready in this turn of the event loop has been handled: what came in together is acted upon
 * together, at the price of no waiting.
 */
export function afterTurn(task: () => void): void {
  setImmediate(task)
}
