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
 * something is asked. `said`: the class that the client named itself.
 */
export class MeasuredPrompt implements PromptFacts {
  readonly #shapeOf: () => PromptShape
  readonly #said: PromptClass | null
  #shape: PromptShape | null = null
  #signs: TextSigns | null = null
  #complexity = -1

  constructor(shape: () => PromptShape, said: PromptClass | null = null) {
    this.#shapeOf = shape
    this.#said = said
  }

  complexity(): number {
    if (this.#complexity < 0) this.#complexity = estimateComplexity(this.#readSigns(), this.#readShape())
    return this.#complexity
  }

  promptClass(): PromptClass {
    return this.#said ?? classifyPrompt(this.#readSigns())
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
