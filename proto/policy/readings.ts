import type { PromptClass } from './classify-prompt.js'
import type { ConditionValues } from './condition-variables.js'
import { type PlaceReason, reasonAgainstPlace } from './provider-place.js'
import type { RequestFacts } from './request-facts.js'
import type { ApiKeyTable, EnvironmentTable, ProviderTable } from './tables.js'

/**
 * Steps of patterns times characters that all conditions of one decision may search, together: a route has many, and each of
 * them alone is bounded by nearly as much.
 */
const decisionWorkMax = 300_000
const hourMs = 3_600_000
const dayMs = 86_400_000

/**
 * What one decision has read of its request: dear facts are asked for once, and whoever explains the decision afterwards
 * reads the same.
 */
export class Readings implements ConditionValues {
  readonly #facts: RequestFacts
  readonly #key: ApiKeyTable
  #complexity: number | null | undefined
  #promptClass: PromptClass | null | undefined
  #tokensIn: number | null | undefined
  #workLeft = decisionWorkMax

  constructor(facts: RequestFacts, key: ApiKeyTable) {
    this.#facts = facts
    this.#key = key
  }

  get facts(): RequestFacts {
    return this.#facts
  }

  get preference(): EnvironmentTable['routingPreference'] {
    return this.#key.environment.routingPreference
  }

  get tenant(): string {
    return this.#key.environment.tenantId
  }

  get environment(): string {
    return this.#key.environment.environmentName
  }

  get team(): string {
    return this.#key.teamId ?? ''
  }

  get key(): string {
    return this.#key.id
  }

  get user(): string {
    return this.#facts.userId ?? ''
  }

  get session(): string {
    return this.#facts.sessionId ?? ''
  }

  get model(): string {
    return this.#facts.model
  }

  get operation(): string {
    return this.#facts.operation
  }

  get stream(): boolean | null {
    return this.#facts.stream ?? null
  }

  get region(): string | null {
    return this.#facts.region ?? null
  }

  get now(): number | null {
    return this.#facts.nowMs ?? null
  }

  get hour(): number | null {
    const { now } = this
    return now === null ? null : Math.floor(now / hourMs) % 24
  }

  /** 1970 began on a Thursday. */
  get weekday(): number | null {
    const { now } = this
    return now === null ? null : (Math.floor(now / dayMs) + 4) % 7
  }

  /** Cut to 0..1: who measures may be somebody else's program. */
  get complexity(): number | null {
    if (this.#complexity === undefined) {
      const measured = this.#facts.prompt?.complexity() ?? Number.NaN
      this.#complexity = Number.isNaN(measured) ? null : Math.min(1, Math.max(0, measured))
    }
    return this.#complexity
  }

  get prompt_class(): PromptClass | null {
    if (this.#promptClass === undefined) this.#promptClass = this.#facts.prompt?.promptClass() ?? null
    return this.#promptClass
  }

  get tokens_in(): number | null {
    if (this.#tokensIn === undefined) this.#tokensIn = this.#facts.prompt?.tokensIn() ?? null
    return this.#tokensIn
  }

  /** Why nothing of the request may go to `provider`; null: it may. */
  reasonAgainst(provider: ProviderTable): PlaceReason | null {
    return reasonAgainstPlace(provider, this.#key)
  }

  takeWork(work: number): boolean {
    if (work > this.#workLeft) return false
    this.#workLeft -= work
    return true
  }

  /** For who looks at the same conditions again, in the same order. */
  restartWork(): void {
    this.#workLeft = decisionWorkMax
  }

  header(name: string): string | undefined {
    return this.#facts.header?.(name)
  }
}
