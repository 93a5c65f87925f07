/**
 * What Claude takes, by its name: as Anthropic writes it (`claude-opus-4-1-20250805`), Google (`claude-opus-4-1@20250805`)
 * or AWS (`us.anthropic.claude-opus-4-1-20250805-v1:0`). Models that are not known yet are taken to be like the newest,
 * except where that would send them something they might refuse. Sources: Anthropic's documentation, "Migrating to Claude
 * 4.5", "What's new in Claude Opus 4.7", "Mid-conversation system messages"; AWS's Bedrock user guide, "Anthropic Claude
 * Messages API".
 */
const endOfName = String.raw`(?:$|-v\d|[-@]\d{8})`
const beforeFour = String.raw`instant|v?[12](?!\d)|3`

const thatSample = new RegExp(`claude-(?:${beforeFour}|(?:opus|sonnet|haiku)-4(?:-[0-6])?${endOfName})`)
const thatSampleTwice = new RegExp(`claude-(?:${beforeFour}|(?:opus|sonnet)-4(?:-0)?${endOfName})`)
const thatTakeInstructions = /claude-[a-z]+-(?:4-(?:[89]|[1-9]\d)|[5-9]|[1-9]\d)(?!\d)/

/** Up to 4.6 it can be told how to sample (`temperature`, `top_p`, `top_k`); later ones refuse all but the defaults. */
export function takesSampling(modelId: string): boolean {
  return thatSample.test(modelId)
}

/** From Opus 4.1 on it refuses `temperature` and `top_p` beside each other. */
export function takesOneSampling(modelId: string): boolean {
  return !thatSampleTwice.test(modelId)
}

/** From Opus 4.8 on it takes instructions in the middle of a conversation; earlier ones refuse the role. */
export function takesInstructionsMidway(modelId: string): boolean {
  return thatTakeInstructions.test(modelId)
}
