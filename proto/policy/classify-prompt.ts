import type { TextSigns } from './text-signs.js'

/**
 * What kind of work a prompt asks for, by words and shape, for rules and for the strategy `task`. The first that applies:
 *
 * 1. `translation`, `summarisation`, `extraction`: words of it weigh at least four (one among the first or last twelve
 *    words), the heaviest of the three, in this order when equal
 * 2. `code`: at least six signs of code, or one for every twelve words
 * 3. `reasoning`: at least two of reasoning, or three of mathematics
 * 4. `chat`: any words at all, at most 400 of them
 * 5. `other`: no words (embeddings, images alone) or a long text that asks for nothing known
 *
 * Same text, same class. A client that knows better says so in the header `x-switchyard-prompt-class`: it names what it
 * wants anyhow by choosing its words, and reaches no target that its route and key do not give it. Anything but one of the
 * known names is ignored.
 */
export const promptClasses = [
  ...(['summarisation', 'extraction', 'translation', 'code', 'reasoning', 'chat', 'other'] as const),
] as const
export type PromptClass = (typeof promptClasses)[number]

/** Where a client may say it. */
export const promptClassHeader = 'x-switchyard-prompt-class'

/** What the client said in its header, if that is a class. */
export function promptClassSaid(header: string | undefined): PromptClass | null {
  if (header === undefined || header.length > 20) return null
  return promptClasses.find((name) => name === header) ?? null
}

export function classifyPrompt(signs: TextSigns): PromptClass {
  const { translationCount, summaryCount, extractionCount, codeCount, wordCount } = signs
  const wanted = Math.max(translationCount, summaryCount, extractionCount)
  if (wanted >= 4) {
    if (translationCount === wanted) return 'translation'
    return summaryCount === wanted ? 'summarisation' : 'extraction'
  }
  if (codeCount >= 6 || (codeCount >= 2 && codeCount * 12 >= wordCount)) return 'code'
  if (signs.reasoningCount >= 2 || signs.mathCount >= 3) return 'reasoning'
  return wordCount > 0 && wordCount <= 400 ? 'chat' : 'other'
}
