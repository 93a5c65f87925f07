/**
 * Shapes of Converse's request as AWS's service model `bedrock-runtime` 2023-09-30 declares them: a member that is not there
 * is not known, a union has exactly one. Tools to say so, and the shapes.
 */
export type Shape = (value: unknown, at: string) => string[]

type Members = Readonly<Record<string, Shape>>

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const text =
  (pattern: RegExp): Shape =>
  (value, at) =>
    typeof value === 'string' && pattern.test(value) ? [] : [`${at}: ${JSON.stringify(value)} does not fit ${pattern}.`]

const oneOf = (...options: string[]): Shape => text(new RegExp(`^(?:${options.join('|')})$`))

const number =
  (min: number, max: number): Shape =>
  (value, at) =>
    typeof value === 'number' && value >= min && value <= max ? [] : [`${at}: a number from ${min} to ${max}.`]

const boolean: Shape = (value, at) => (typeof value === 'boolean' ? [] : [`${at}: a boolean.`])
/** Any JSON. */
const document: Shape = (value, at) => (value === undefined ? [`${at} is required.`] : [])

const list =
  (of: Shape, min: number, max = Number.POSITIVE_INFINITY): Shape =>
  (value, at) => {
    if (!Array.isArray(value) || value.length < min || value.length > max) return [`${at}: a list of at least ${min}.`]
    return value.flatMap((member, index) => of(member, `${at}.${index}`))
  }

const structure =
  (required: Members, optional: Members = {}): Shape =>
  (value, at) => {
    if (!isObject(value)) return [`${at} is not an object.`]
    const missing = Object.keys(required).filter((name) => value[name] === undefined)
    return [
      ...missing.map((name) => `${at}.${name} is required.`),
      ...Object.entries(value).flatMap(([name, member]) => {
        const shape = Object.hasOwn(required, name)
          ? required[name]
          : Object.hasOwn(optional, name)
            ? optional[name]
            : null
        return shape ? shape(member, `${at}.${name}`) : [`${at}: extraneous key [${name}] is not permitted.`]
      }),
    ]
  }

const union =
  (members: Members): Shape =>
  (value, at) => {
    if (!isObject(value) || Object.keys(value).length !== 1) return [`${at} is a union: exactly one member.`]
    return structure({}, members)(value, at)
  }

const map =
  (key: RegExp, of: Shape, max: number): Shape =>
  (value, at) => {
    if (!isObject(value) || Object.keys(value).length > max) return [`${at}: at most ${max} entries.`]
    return Object.entries(value).flatMap(([name, member]) =>
      key.test(name) ? of(member, `${at}.${name}`) : [`${at}: key ${name} does not fit ${key}.`],
    )
  }

const anything = text(/^[\s\S]*$/)
const nonEmpty = text(/^[\s\S]+$/)
/** The service, and not its model, refuses these. */
const nonBlank = text(/\S/)
const blob = text(
  /^(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$|^(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)$/,
)
const toolName = text(/^[a-zA-Z0-9_-]{1,64}$/)
const toolUseId = text(/^[a-zA-Z0-9_.:-]{1,64}$/)

const image = structure({ format: oneOf('png', 'jpeg', 'gif', 'webp'), source: union({ bytes: blob }) })
const documentBlock = structure({
  format: oneOf('pdf', 'csv', 'doc', 'docx', 'xls', 'xlsx', 'html', 'txt', 'md'),
  name: text(/^(?!.*\s\s)[A-Za-z0-9\s\-()[\]]{1,200}$/),
  source: union({ bytes: blob }),
})
const toolResult = structure(
  {
    toolUseId,
    content: list(union({ json: document, text: nonBlank, image, document: documentBlock }), 0),
  },
  { status: oneOf('success', 'error') },
)
const contentBlock = union({
  text: nonBlank,
  image,
  document: documentBlock,
  toolUse: structure({ toolUseId, name: toolName, input: document }),
  toolResult,
  reasoningContent: union({
    reasoningText: structure({ text: anything }, { signature: nonEmpty }),
    redactedContent: blob,
  }),
})
/** JSON Schema's own members are not Converse's to know. */
const jsonSchema: Shape = (value, at) =>
  isObject(value) && value['type'] === 'object' ? [] : [`${at}.type must be one of the following: object.`]
const toolSpec = structure(
  { name: toolName, inputSchema: union({ json: jsonSchema }) },
  { description: nonEmpty, strict: boolean },
)
const anyObject: Shape = (value, at) => (isObject(value) ? [] : [`${at} is not an object.`])

export const converseRequest: Shape = structure(
  { messages: list(structure({ role: oneOf('user', 'assistant'), content: list(contentBlock, 1) }), 1) },
  {
    system: list(union({ text: nonBlank }), 1),
    inferenceConfig: structure(
      {},
      {
        maxTokens: number(1, 1_000_000),
        temperature: number(0, 1),
        topP: number(0, 1),
        stopSequences: list(nonEmpty, 0, 2_500),
      },
    ),
    toolConfig: structure(
      { tools: list(union({ toolSpec }), 1) },
      { toolChoice: union({ auto: structure({}), any: structure({}), tool: structure({ name: toolName }) }) },
    ),
    additionalModelRequestFields: anyObject,
    additionalModelResponseFieldPaths: list(text(/^\/.{1,255}$/), 0, 10),
    requestMetadata: map(/^[a-zA-Z0-9\s:_@$#=/+,\-.]{1,256}$/, text(/^[a-zA-Z0-9\s:_@$#=/+,\-.]{0,256}$/), 16),
    outputConfig: structure(
      {},
      {
        textFormat: structure({
          type: oneOf('json_schema'),
          structure: union({
            jsonSchema: structure({ schema: nonEmpty }, { name: nonEmpty, description: anything }),
          }),
        }),
        effort: oneOf('low', 'medium', 'high', 'xhigh', 'max'),
      },
    ),
  },
)
