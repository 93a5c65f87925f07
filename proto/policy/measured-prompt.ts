import type { Classified, ClassifiedMeasure } from './classifier.js'
import { classifyPrompt, type PromptClass } from './classify-prompt.js'
import { estimateComplexity } from './estimate-complexity.js'
import { estimateTokens, type PromptSize } from './estimate-tokens.js'
import { readSigns, type TextSigns } from './text-signs.js'

/**
 * What conditions and strategies may want to know of a prompt; null: nobody knows. Functions, because who does not ask does
 * not pay.
 */
export interface PromptFacts {
  /** 0..1. */
  complexity(): number | null
  promptClass(): PromptClass | null
  /** Estimated tokens of everything that is sent. */
  tokensIn(): number | null
  /** Somebody said it, so that nobody is asked to measure it. Left out: nobody said anything. */
  isSaid?(measure: ClassifiedMeasure): boolean
  /** What came of asking the route's classifier; left out: it was not asked. */
  readonly classified?: Classified | undefined
}

export interface PromptShape extends PromptSize {
  /**
   * What the user says, turn after turn, or what `bothEndsOf` leaves of it: `signsCharactersMax` characters are looked at,
   * half of them from either end. Asked for at most once.
   */
  newestText(): string
}

/**
 * The built-in estimates, each made when it is first asked for and kept. `shape` is called at most once, and only if
 * something is asked. `said`: the class that the client named itself. `classified`: what a classifier said counts before
 * them, but not before what the client said.
 */
export class MeasuredPrompt implements PromptFacts {
  readonly #shapeOf: () => PromptShape
  readonly #said: PromptClass | null
  readonly classified: Classified | undefined
  #shape: PromptShape | null = null
  #signs: TextSigns | null = null
  #complexity = -1

  constructor(
    shape: () => PromptShape,
    said: PromptClass | null = null,
    classified: Classified | undefined = undefined,
  ) {
    this.#shapeOf = shape
    this.#said = said
    this.classified = classified
  }

  isSaid(measure: ClassifiedMeasure): boolean {
    return measure === 'prompt_class' && this.#said !== null
  }

  complexity(): number {
    const measured = this.classified?.complexity ?? null
    if (measured !== null) return measured
    if (this.#complexity < 0) this.#complexity = estimateComplexity(this.#readSigns(), this.#readShape())
    return this.#complexity
  }

  promptClass(): PromptClass {
    return this.#said ?? this.classified?.promptClass ?? classifyPrompt(this.#readSigns())
  }

  tokensIn(): number {
    return estimateTokens(this.#readShape())
  }

  #readShape(): PromptShape {
    this.#shape ??= this.#shapeOf()
    return this.#shape
  }

  #readSigns(): TextSigns {
    this.#signs ??= readSigns(this.#readShape().newestText())
    return this.#signs
  }
}
