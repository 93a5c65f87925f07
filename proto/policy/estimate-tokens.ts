/**
 * Tokens of a prompt without a tokenizer: a quarter of the UTF-8 bytes of its texts, and a little per turn, tool and image.
 * By bytes and not by characters, because that is what vocabularies are made from: English prose has 4.4 bytes per token in
 * o200k, source text 4.3, German 5.1, Chinese 3.8, Japanese 3.5, JSON 2.9. So the estimate is some 10 to 20 % too high for
 * prose and up to 30 % too low for dense JSON. It decides between targets and is never billed, and no request is refused
 * because of it (see `choose-target.ts`).
 */
export interface PromptSize {
  /** Of all texts that are sent: instructions, turns, results and definitions of tools. */
  readonly textBytes: number
  readonly turnCount: number
  readonly toolCount: number
  readonly imageCount: number
}

const bytesPerToken = 4
/** Role and separators around a turn. */
const tokensPerTurn = 4
/** What vendors wrap around a definition, besides its text. */
const tokensPerTool = 8
/** A square megapixel at OpenAI; others are near. */
const tokensPerImage = 765

export function estimateTokens({ textBytes, turnCount, toolCount, imageCount }: PromptSize): number {
  return (
    Math.ceil(textBytes / bytesPerToken) +
    turnCount * tokensPerTurn +
    toolCount * tokensPerTool +
    imageCount * tokensPerImage
  )
}
