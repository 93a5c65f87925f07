import type { RouteTable } from '../../../proto/policy/tables.js'

/**
 * How many of a route's requests may be asked twice. Each request brings `budgetRatio` of a hedge, a hedge takes a whole
 * one; nothing is there at the beginning, and a quiet hour saves up no more than `savedMax`. So whatever happens, hedges
 * never exceed their share of the requests, and no chance is needed for it. A route whose table is a new one begins anew.
 */
const savedMax = 10

interface Budget {
  saved: number
}

export class HedgeBudgets {
  readonly #byRoute = new WeakMap<RouteTable, Budget>()

  /** One request of `route`, which hedges. */
  count(route: RouteTable, budgetRatio: number): void {
    const budget = this.#of(route)
    budget.saved = Math.min(savedMax, budget.saved + budgetRatio)
  }

  has(route: RouteTable): boolean {
    // Sums of fractions: ten times a tenth is a little less than one.
    return this.#of(route).saved >= 1 - 1e-9
  }

  /** To be called where `has` holds. */
  take(route: RouteTable): void {
    this.#of(route).saved -= 1
  }

  #of(route: RouteTable): Budget {
    let budget = this.#byRoute.get(route)
    if (budget === undefined) {
      budget = { saved: 0 }
      this.#byRoute.set(route, budget)
    }
    return budget
  }
}
