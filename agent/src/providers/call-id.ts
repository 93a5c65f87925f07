import { hash } from 'node:crypto'

/**
 * The id of a tool's call for a vendor that takes only ids like `taken`, where another vendor wrote it. Calls and results
 * change alike, and no two become the same: replacing single characters would make one of `f.a:0` and `f:a.0`. What it is
 * made to (`call_` and 40 hexadecimal digits) every vendor takes.
 */
export function callIdFor(id: string, taken: RegExp): string {
  return taken.test(id) ? id : `call_${hash('sha256', id, 'hex').slice(0, 40)}`
}
