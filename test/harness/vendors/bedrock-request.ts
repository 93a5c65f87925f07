import { converseRequest } from './bedrock-shapes.js'
import { objectsIn, unknownMembers } from './vendor-fake.js'

/**
 * What Bedrock refuses of a Converse request. Sources: AWS's Bedrock API reference; user guide, "Supported models and model
 * features", "Get validated JSON results from models", "Anthropic Claude Messages API"; sentences as recorded from it.
 */
export function verifyConverse(modelId: string, body: Record<string, unknown>): string[] {
  return [
    ...converseRequest(body, 'body'),
    ...verifyConversation(body),
    ...verifyTools(modelId, body),
    ...verifyModel(modelId, body),
    ...verifyOwnFields(modelId, body),
  ]
}

type Json = Record<string, unknown>

function contentOf(message: Json): Json[] {
  return objectsIn(message['content'])
}

function verifyConversation({ messages }: Json): string[] {
  const problems: string[] = []
  const documents = new Set<string>()
  let openCalls: string[] = []
  for (const [index, message] of objectsIn(messages).entries()) {
    const at = `messages.${index}`
    const expected = index % 2 === 0 ? 'user' : 'assistant'
    if (message['role'] !== expected) {
      problems.push(
        index === 0
          ? 'A conversation must start with a user message. Try again with a conversation that starts with a user message.'
          : 'A conversation must alternate between user and assistant roles.',
      )
    }
    const content = contentOf(message)
    const answered = content.flatMap(({ toolResult }) =>
      toolResult ? [String((toolResult as Json)['toolUseId'])] : [],
    )
    for (const id of openCalls)
      if (!answered.includes(id)) problems.push(`${at}: Expected toolResult blocks for: ${id}.`)
    for (const id of answered) if (!openCalls.includes(id)) problems.push(`${at}: unexpected toolUseId ${id}.`)
    const firstOther = content.findIndex((block) => !('toolResult' in block))
    if (answered.length > 0 && firstOther !== -1 && firstOther < answered.length)
      problems.push(`${at}: results come first.`)
    const called = content.flatMap(({ toolUse }) => (toolUse ? [toolUse as Json] : []))
    if (called.length > 0 && message['role'] !== 'assistant') problems.push(`${at}: User messages cannot call tools.`)
    openCalls = called.map((call) => String(call['toolUseId']))
    for (const { document } of content) {
      if (document === undefined) continue
      const name = String((document as Json)['name']).toLowerCase()
      if (documents.has(name)) problems.push("Messages can't contain duplicate document names.")
      documents.add(name)
      if (!content.some((block) => 'text' in block)) problems.push(`${at}: a document needs a text beside it.`)
    }
  }
  return problems
}

function verifyTools(modelId: string, { messages, toolConfig }: Json): string[] {
  const holdsTools = objectsIn(messages).some((message) =>
    contentOf(message).some((block) => 'toolUse' in block || 'toolResult' in block),
  )
  if (toolConfig === undefined) {
    return holdsTools ? ['The toolConfig field must be defined when using toolUse and toolResult content blocks.'] : []
  }
  const { tools, toolChoice } = toolConfig as Json
  const problems: string[] = []
  const names = objectsIn(tools).map((tool) => String((tool['toolSpec'] as Json | undefined)?.['name']))
  if (new Set(names).size < names.length) problems.push('Tool names must be unique.')
  const chosen = (toolChoice as Json | undefined)?.['tool'] as Json | undefined
  if (chosen !== undefined) {
    if (!/claude|nova/.test(modelId)) problems.push("This model doesn't support the toolConfig.toolChoice.tool field.")
    if (!names.includes(String(chosen['name'])))
      problems.push(`toolChoice: there is no tool ${String(chosen['name'])}.`)
  }
  return problems
}

/** Models that cannot do all that Converse can say. */
function verifyModel(modelId: string, body: Json): string[] {
  const problems: string[] = []
  const isTextOnly = /titan-text|mistral-7b|mixtral/.test(modelId)
  if (isTextOnly && body['system'] !== undefined) {
    problems.push("This model doesn't support system messages. Try again without a system message.")
  }
  if (isTextOnly && body['toolConfig'] !== undefined) problems.push("This model doesn't support tool use.")
  const images = objectsIn(body['messages']).some((message) => contentOf(message).some((block) => 'image' in block))
  if (isTextOnly && images) problems.push("This model doesn't support the image content block.")
  if (/claude-(?:3|(?:opus|sonnet)-4(?:-1)?-\d{8})|nova|titan|mistral-7b/.test(modelId)) {
    const format = (body['outputConfig'] as Json | undefined)?.['textFormat']
    if (format !== undefined)
      problems.push('Malformed input request: #: extraneous key [outputConfig] is not permitted')
    for (const tool of objectsIn((body['toolConfig'] as Json | undefined)?.['tools'])) {
      if ((tool['toolSpec'] as Json | undefined)?.['strict'] !== undefined)
        problems.push('tools.strict: not permitted.')
    }
  }
  return problems
}

/** Claude's own fields; of other models the fake knows none. */
function verifyOwnFields(modelId: string, body: Json): string[] {
  const own = body['additionalModelRequestFields'] as Json | undefined
  const { temperature, topP, maxTokens } = (body['inferenceConfig'] ?? {}) as Json
  const problems: string[] = []
  if (/claude-(?:opus|sonnet|haiku)-(?:4-[7-9]|[5-9])/.test(modelId)) {
    for (const [name, value] of [
      ['temperature', temperature],
      ['top_p', topP],
      ['top_k', own?.['top_k']],
    ] as const) {
      if (value !== undefined) problems.push(`${name} is deprecated for this model.`)
    }
  }
  if (/claude-(?:opus|sonnet|haiku)-4-[56]/.test(modelId) && temperature !== undefined && topP !== undefined) {
    problems.push('`temperature` and `top_p` cannot both be specified for this model. Please use only one.')
  }
  if (own === undefined) return problems
  if (!/claude/.test(modelId)) return [...problems, 'additionalModelRequestFields: extraneous key.']
  problems.push(...unknownMembers(own, ['top_k', 'thinking'], 'additionalModelRequestFields'))
  const thinking = own['thinking'] as Json | undefined
  if (thinking === undefined || thinking['type'] === 'disabled') return problems
  problems.push(...unknownMembers(thinking, ['type', 'budget_tokens'], 'thinking'))
  if (thinking['type'] === 'enabled') {
    const budget = Number(thinking['budget_tokens'])
    if (!(budget >= 1_024)) problems.push('thinking.budget_tokens: at least 1024.')
    if (maxTokens !== undefined && budget >= Number(maxTokens))
      problems.push('max_tokens must be greater than the budget.')
  }
  if (temperature !== undefined || own['top_k'] !== undefined)
    problems.push('temperature and top_k: not while thinking.')
  const choice = (body['toolConfig'] as Json | undefined)?.['toolChoice'] as Json | undefined
  if (choice !== undefined && !('auto' in choice)) problems.push('Thinking may not be enabled when tool use is forced.')
  return problems
}
