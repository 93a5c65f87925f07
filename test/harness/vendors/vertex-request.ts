import { objectsIn, unknownMembers } from './vendor-fake.js'

/**
 * What Vertex AI takes of a `generateContent` body (v1): the members of its proto at every level, and the rules that its
 * documentation and its own 400s state. Sources: googleapis `google/cloud/aiplatform/v1` (content, tool, prediction_service)
 * and Google Cloud's documentation ("Generate content with the Gemini API", "Thinking", "Thought signatures", "Function
 * calling", "Image understanding").
 */
export interface IssuedSignatures {
  isOf(signature: string, functionCall: unknown): boolean
}

type Fields = Record<string, unknown>

const unsigned = ['skip_thought_signature_validator', 'context_engineering_is_the_way_to_go']
const dataMembers = ['text', 'inlineData', 'fileData', 'functionCall', 'functionResponse']
const mediaTypes = [
  ...['image/png', 'image/jpeg', 'image/webp', 'image/heic', 'image/heif'],
  ...['application/pdf', 'text/plain'],
]
const levels = ['LOW', 'MEDIUM', 'HIGH', 'ULTRA_HIGH'].map((level) => `MEDIA_RESOLUTION_${level}`)

export function verifyContentRequest(body: Fields, model: string, issued: IssuedSignatures): string[] {
  return new RequestVerifier(model, issued).verify(body)
}

class RequestVerifier {
  readonly #problems: string[] = []
  readonly #model: string
  readonly #generation: number
  readonly #issued: IssuedSignatures

  constructor(model: string, issued: IssuedSignatures) {
    this.#model = model
    this.#generation = Number(/^gemini-(\d+(?:\.\d+)?)/.exec(model)?.[1] ?? 3)
    this.#issued = issued
  }

  verify(body: Fields): string[] {
    this.#known(body, ['contents', 'systemInstruction', 'tools', 'toolConfig', 'generationConfig'], 'body')
    const contents = objectsIn(body['contents'])
    if (contents.length === 0) this.#no('contents is missing.')
    for (const [index, content] of contents.entries()) this.#verifyContent(content, `contents[${index}]`)
    this.#verifyCalls(contents)
    if (this.#generation >= 3) this.#verifySignatures(contents)
    if (body['systemInstruction'] !== undefined) this.#verifySystem(body['systemInstruction'])
    const names = body['tools'] === undefined ? [] : this.#verifyTools(body['tools'])
    if (body['toolConfig'] !== undefined) this.#verifyToolConfig(body['toolConfig'], names)
    if (body['generationConfig'] !== undefined) this.#verifyConfig(body['generationConfig'], names.length > 0)
    return this.#problems
  }

  #no(problem: string): void {
    this.#problems.push(problem)
  }

  #known(value: unknown, members: readonly string[], path: string): value is Fields {
    const unknown = unknownMembers(value, members, path)
    this.#problems.push(...unknown.map((one) => `Invalid JSON payload received. ${one}`))
    return isFields(value)
  }

  #text(value: unknown, path: string): void {
    if (typeof value !== 'string' || value === '') this.#no(`${path} has to be a text.`)
  }

  #number(value: unknown, min: number, max: number, path: string, isInteger = true): void {
    if (value === undefined) return
    if (typeof value !== 'number' || value < min || value > max || (isInteger && !Number.isInteger(value))) {
      this.#no(`${path} has to be a number from ${min} to ${max}.`)
    }
  }

  #verifyContent(content: Fields, path: string): void {
    this.#known(content, ['role', 'parts'], path)
    if (content['role'] !== 'user' && content['role'] !== 'model') this.#no(`${path}.role is not user or model.`)
    const parts = objectsIn(content['parts'])
    if (parts.length === 0) this.#no(`${path}.parts must not be empty.`)
    for (const [index, part] of parts.entries()) {
      this.#verifyPart(part, content['role'] === 'model', `${path}.parts[${index}]`)
    }
  }

  #verifyPart(part: Fields, isModel: boolean, path: string) {
    this.#known(part, [...dataMembers, 'thoughtSignature', 'mediaResolution'], path)
    const data = dataMembers.filter((name) => part[name] !== undefined)
    if (data.length !== 1) return this.#no(`${path} has to hold exactly one kind of data.`)
    if (part['text'] !== undefined) this.#text(part['text'], `${path}.text`)
    if (part['inlineData'] !== undefined) this.#verifyBlob(part['inlineData'], `${path}.inlineData`)
    if (part['fileData'] !== undefined) this.#verifyFile(part['fileData'], `${path}.fileData`)
    if (part['functionCall'] !== undefined) {
      if (!isModel) this.#no(`${path}: a user calls no functions.`)
      this.#verifyCall(part, `${path}.functionCall`)
    } else if (part['thoughtSignature'] !== undefined) {
      this.#no(`${path}.thoughtSignature: nobody keeps those of texts.`)
    }
    if (part['functionResponse'] !== undefined) {
      if (isModel) this.#no(`${path}: a model answers no functions.`)
      this.#verifyResponse(part['functionResponse'], `${path}.functionResponse`)
    }
    if (part['mediaResolution'] !== undefined) this.#verifyResolution(part, `${path}.mediaResolution`)
  }

  #verifyBlob(blob: unknown, path: string): void {
    if (!this.#known(blob, ['mimeType', 'data'], path)) return
    if (!mediaTypes.includes(String(blob['mimeType'])))
      this.#no(`${path}: mime type ${blob['mimeType']} is not supported.`)
    if (!isBase64(blob['data'])) this.#no(`${path}.data is no base64.`)
  }

  #verifyFile(file: unknown, path: string): void {
    if (!this.#known(file, ['mimeType', 'fileUri'], path)) return
    if (!mediaTypes.includes(String(file['mimeType'])))
      this.#no(`${path}: mime type ${file['mimeType']} is not supported.`)
    if (!/^(?:https?|gs):\/\//.test(String(file['fileUri']))) this.#no(`${path}.fileUri is none.`)
  }

  #verifyResolution(part: Fields, path: string): void {
    if (this.#generation < 3) this.#no(`${path} is for Gemini 3 and later.`)
    if (part['inlineData'] === undefined && part['fileData'] === undefined) this.#no(`${path} is for media.`)
    const resolution = part['mediaResolution']
    if (!this.#known(resolution, ['level'], path)) return
    if (!levels.includes(String(resolution['level']))) this.#no(`${path}.level is not known.`)
  }

  #verifyCall(part: Fields, path: string): void {
    const call = part['functionCall']
    // No `id`: v1 refuses it.
    if (!this.#known(call, ['name', 'args'], path)) return
    this.#text(call['name'], `${path}.name`)
    if (!isFields(call['args'])) this.#no(`${path}.args is no object.`)
    const signature = part['thoughtSignature']
    if (signature === undefined || unsigned.includes(String(signature))) return
    if (!this.#issued.isOf(String(signature), call)) this.#no(`${path}: Corrupted thought signature.`)
  }

  #verifyResponse(answer: unknown, path: string): void {
    if (!this.#known(answer, ['name', 'response', 'parts'], path)) return
    this.#text(answer['name'], `${path}.name`)
    const response = answer['response']
    if (!isFields(response) || Object.keys(response).some((name) => name !== 'output' && name !== 'error')) {
      this.#no(`${path}.response has to be an object with output or error.`)
    }
    if (answer['parts'] === undefined) return
    if (this.#generation < 3) this.#no(`${path}.parts is for Gemini 3 and later.`)
    for (const [index, part] of objectsIn(answer['parts']).entries()) {
      this.#known(part, ['inlineData', 'fileData'], `${path}.parts[${index}]`)
      if (part['inlineData'] !== undefined) this.#verifyBlob(part['inlineData'], `${path}.parts[${index}]`)
    }
  }

  /** Every turn of calls is answered at once, in order, by a content of results only. */
  #verifyCalls(contents: readonly Fields[]): void {
    for (const [index, content] of contents.entries()) {
      const calls = namesIn(content, 'functionCall')
      const results = namesIn(content, 'functionResponse')
      const before = contents[index - 1]
      if (calls.length > 0) {
        if (before === undefined || before['role'] !== 'user') {
          this.#no(
            'Please ensure that function call turn comes immediately after a user turn or after a function response turn.',
          )
        }
        const answers =
          contents[index + 1] === undefined ? [] : namesIn(contents[index + 1] as Fields, 'functionResponse')
        if (contents[index + 1] !== undefined && answers.length !== calls.length) {
          this.#no(
            'Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.',
          )
        }
      }
      if (results.length === 0) continue
      if (results.length !== objectsIn(content['parts']).length)
        this.#no(`contents[${index}] mixes results and others.`)
      const asked = before === undefined ? [] : namesIn(before, 'functionCall')
      if (results.join() !== asked.join()) this.#no(`contents[${index}] does not answer the calls in their order.`)
    }
  }

  /** The first call of each step since the user last said something. */
  #verifySignatures(contents: readonly Fields[]): void {
    const start = contents.findLastIndex((content) => {
      return content['role'] === 'user' && namesIn(content, 'functionResponse').length === 0
    })
    for (const [index, content] of contents.entries()) {
      if (index < start) continue
      const first = objectsIn(content['parts']).find((part) => part['functionCall'] !== undefined)
      if (first === undefined || first['thoughtSignature'] !== undefined) continue
      const { name } = first['functionCall'] as Fields
      this.#no(`Function call ${name} in the ${index}. content block is missing a thought_signature.`)
    }
  }

  #verifySystem(system: unknown): void {
    if (!this.#known(system, ['role', 'parts'], 'systemInstruction')) return
    for (const part of objectsIn(system['parts'])) {
      this.#known(part, ['text'], 'systemInstruction.parts')
      this.#text(part['text'], 'systemInstruction.parts.text')
    }
  }

  #verifyTools(tools: unknown): string[] {
    const [tool] = objectsIn(tools)
    if (objectsIn(tools).length !== 1 || tool === undefined) this.#no('all declarations are one tool.')
    this.#known(tool, ['functionDeclarations'], 'tools[0]')
    return objectsIn(tool?.['functionDeclarations']).map((declaration, index) => {
      const path = `tools[0].functionDeclarations[${index}]`
      this.#known(declaration, ['name', 'description', 'parametersJsonSchema'], path)
      const name = String(declaration['name'])
      if (!/^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/.test(name)) this.#no(`${path}.name is no function's.`)
      if (declaration['description'] !== undefined) this.#text(declaration['description'], `${path}.description`)
      if (declaration['parametersJsonSchema'] !== undefined)
        this.#verifySchema(declaration['parametersJsonSchema'], path)
      return name
    })
  }

  #verifyToolConfig(config: unknown, names: readonly string[]): void {
    if (names.length === 0) this.#no('toolConfig without tools.')
    if (!this.#known(config, ['functionCallingConfig'], 'toolConfig')) return
    const calling = config['functionCallingConfig']
    if (!this.#known(calling, ['mode', 'allowedFunctionNames'], 'functionCallingConfig')) return
    const mode = String(calling['mode'])
    if (!['AUTO', 'ANY', 'NONE', 'VALIDATED'].includes(mode)) this.#no(`mode ${mode} is not known.`)
    const allowed = calling['allowedFunctionNames']
    if (allowed === undefined) return
    if (mode !== 'ANY') this.#no('allowedFunctionNames is for ANY.')
    if (!Array.isArray(allowed) || !allowed.every((name) => names.includes(String(name)))) {
      this.#no('allowedFunctionNames names what is not declared.')
    }
  }

  #verifyConfig(config: unknown, hasTools: boolean): void {
    const known = [
      ...['maxOutputTokens', 'temperature', 'topP', 'topK', 'stopSequences', 'seed', 'frequencyPenalty'],
      ...[
        'presencePenalty',
        'responseLogprobs',
        'logprobs',
        'responseMimeType',
        'responseJsonSchema',
        'thinkingConfig',
      ],
    ]
    if (!this.#known(config, known, 'generationConfig')) return
    if (Object.keys(config).length === 0) this.#no('an empty generationConfig says nothing.')
    const int32 = 2 ** 31 - 1
    this.#number(config['maxOutputTokens'], 1, int32, 'maxOutputTokens')
    this.#number(config['temperature'], 0, 2, 'temperature', false)
    this.#number(config['topP'], 0, 1, 'topP', false)
    this.#number(config['topK'], 1, int32, 'topK')
    this.#number(config['seed'], -int32 - 1, int32, 'seed')
    this.#number(config['frequencyPenalty'], -2, 1.999, 'frequencyPenalty', false)
    this.#number(config['presencePenalty'], -2, 1.999, 'presencePenalty', false)
    this.#number(config['logprobs'], 1, 20, 'logprobs')
    if (config['logprobs'] !== undefined && config['responseLogprobs'] !== true) this.#no('logprobs without asking.')
    const stops = config['stopSequences']
    if (stops !== undefined && (!Array.isArray(stops) || stops.length < 1 || stops.length > 5)) {
      this.#no('stopSequences has to be an array of 1 to 5 texts.')
    }
    const mimeType = config['responseMimeType']
    if (mimeType !== undefined && mimeType !== 'application/json') this.#no('responseMimeType is not known.')
    if (mimeType !== undefined && hasTools && this.#generation < 3) {
      this.#no("Function calling with a response mime type: 'application/json' is unsupported")
    }
    if (config['responseJsonSchema'] !== undefined) {
      if (mimeType === undefined) this.#no('responseJsonSchema wants a responseMimeType.')
      this.#verifySchema(config['responseJsonSchema'], 'responseJsonSchema')
    }
    if (config['thinkingConfig'] !== undefined) this.#verifyThinking(config['thinkingConfig'])
  }

  #verifyThinking(config: unknown): void {
    if (!this.#known(config, ['includeThoughts', 'thinkingBudget', 'thinkingLevel'], 'thinkingConfig')) return
    if (this.#generation < 2.5) this.#no('Thinking is not supported by this model.')
    const { thinkingBudget, thinkingLevel, includeThoughts } = config
    if (includeThoughts !== undefined && includeThoughts !== true) this.#no('includeThoughts is true or not there.')
    if (thinkingBudget !== undefined && thinkingLevel !== undefined) {
      this.#no('You can only set only one of thinking budget and thinking level.')
    }
    if (this.#generation >= 3) {
      if (thinkingBudget !== undefined) this.#no('a budget is for models before Gemini 3.')
      const hasMinimal = /^gemini-3(\.[0-6])?-flash/.test(this.#model)
      const words = ['LOW', 'MEDIUM', 'HIGH', ...(hasMinimal ? ['MINIMAL'] : [])]
      if (!words.includes(String(thinkingLevel)))
        this.#no(`Thinking level ${thinkingLevel} is not supported for this model.`)
    } else {
      if (thinkingLevel !== undefined) this.#no('Thinking level is not supported for this model.')
      const [min, max] = this.#model.includes('-pro') ? [128, 32_768] : [0, 24_576]
      this.#number(thinkingBudget, min, max, 'thinkingBudget')
      if (this.#model.includes('-lite') && thinkingBudget !== 0)
        this.#number(thinkingBudget, 512, max, 'thinkingBudget')
    }
  }

  /** An object to begin with, and no reference beside which something stands. */
  #verifySchema(schema: unknown, path: string) {
    if (!isFields(schema)) return this.#no(`${path} is no schema.`)
    if (schema['$ref'] !== undefined && Object.keys(schema).some((name) => !name.startsWith('$'))) {
      this.#no(`${path}: beside $ref stands something.`)
    }
    if (schema['const'] !== undefined || schema['definitions'] !== undefined) this.#no(`${path}: not its words.`)
    for (const [name, child] of Object.entries(schema)) {
      if (name === 'properties' || name === '$defs') {
        for (const [key, one] of Object.entries(child as Fields)) this.#verifySchema(one, `${path}.${key}`)
      } else if (name === 'anyOf' || name === 'oneOf') {
        for (const one of objectsIn(child)) this.#verifySchema(one, `${path}.${name}`)
      } else if (name === 'items') this.#verifySchema(child, `${path}.items`)
    }
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isBase64(value: unknown): boolean {
  return typeof value === 'string' && value !== '' && /^[A-Za-z0-9+/]*={0,2}$/.test(value)
}

/** Names of the calls or results in a content. */
function namesIn(content: Fields, member: 'functionCall' | 'functionResponse'): string[] {
  return objectsIn(content['parts']).flatMap((part) => {
    const one = part[member]
    return isFields(one) ? [String(one['name'])] : []
  })
}
