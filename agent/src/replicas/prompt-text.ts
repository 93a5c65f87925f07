/**
 * What of a client's body a model will see, told in the order in which it will: what stands before the turns, tools, turns.
 * From what was parsed already, whatever the door: members that mean the same have few names.
 *
 * It is a hint for the choice of a replica, so it need not be what a chat template makes of it. It has to be the same for
 * the same beginning, and different as soon as the model is shown something else.
 */
export interface PromptSink {
  text(text: string): void
  number(value: number): void
  /** There was more, which was not told. */
  cut(): void
  readonly isFull: boolean
}

/** Nodes of a body that are looked at: one of ten million nulls must not hold up the others. */
const nodesMax = 65_536
const depthMax = 48
/** Longest of a picture or a file; a longer one is told by samples, since its bytes are nobody's prefix but its own. */
const opaqueCharactersMax = 4_096
const sampleCount = 32
const sampleCharacters = 64

/** Of a turn or a part of one: of no interest to a model, or left out when templates write down what it thought before. */
const unseen: ReadonlySet<string> = new Set([
  ...['cache_control', 'reasoning', 'reasoning_content', 'thinking', 'signature', 'encrypted_content'],
  ...['annotations', 'refusal', 'logprobs', 'status'],
])
/** How deep parts of a turn stand: what is below belongs to schemas and arguments, where every name is somebody's own. */
const partDepth = 2
/** Whose strings are bytes in disguise. */
const opaque: ReadonlySet<string> = new Set(['data', 'url', 'image_url', 'file_data', 'image', 'audio'])

export function tellPrompt(fields: Readonly<Record<string, unknown>>, sink: PromptSink): void {
  new PromptTeller(sink).tell(fields)
}

class PromptTeller {
  readonly #sink: PromptSink
  #nodes = 0

  constructor(sink: PromptSink) {
    this.#sink = sink
  }

  tell(fields: Readonly<Record<string, unknown>>) {
    // vLLM shares no cache between requests of different salts.
    this.#member('cache_salt', fields['cache_salt'])
    this.#member('system', fields['system'])
    this.#member('system', fields['instructions'])
    const turns = fields['messages'] ?? fields['input'] ?? fields['prompt']
    const leading = leadingCount(turns)
    if (Array.isArray(turns)) for (let at = 0; at < leading; at++) this.#value(turns[at], 0)
    const tools = fields['tools']
    if (Array.isArray(tools))
      for (let at = 0; at < tools.length && this.#goesOn(); at++) this.#value(tools[at], partDepth + 1)
    if (!Array.isArray(turns)) return this.#member('turns', turns)
    for (let at = leading; at < turns.length && this.#goesOn(); at++) this.#value(turns[at], 0)
  }

  #goesOn(): boolean {
    if (!this.#sink.isFull && this.#nodes < nodesMax) return true
    this.#sink.cut()
    return false
  }

  #member(name: string, value: unknown): void {
    if (value === undefined || value === null) return
    this.#sink.text(name)
    this.#value(value, 0)
  }

  #value(value: unknown, depth: number) {
    this.#nodes += 1
    if (!this.#goesOn()) return
    switch (typeof value) {
      case 'string':
        return this.#sink.text(value)
      case 'number':
        if (Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff) this.#sink.number(value)
        else this.#sink.text(String(value))
        return
      case 'object':
        if (value === null) return this.#sink.text('-')
        if (depth >= depthMax) return this.#sink.cut()
        return Array.isArray(value) ? this.#items(value, depth) : this.#members(value, depth)
      default:
        return this.#sink.text(value === true ? '+' : '-')
    }
  }

  #items(items: readonly unknown[], depth: number): void {
    this.#sink.text('[')
    for (const item of items) {
      if (!this.#goesOn()) return
      this.#value(item, depth + 1)
    }
    this.#sink.text(']')
  }

  #members(members: object, depth: number): void {
    this.#sink.text('{')
    for (const name in members) {
      if (!this.#goesOn()) return
      if (depth <= partDepth && unseen.has(name)) continue
      const value = (members as Record<string, unknown>)[name]
      this.#sink.text(name)
      if (typeof value === 'string' && value.length > opaqueCharactersMax && opaque.has(name)) this.#sample(value)
      else this.#value(value, depth + 1)
    }
    this.#sink.text('}')
  }

  #sample(text: string): void {
    this.#nodes += 1
    this.#sink.number(text.length)
    const stride = (text.length - sampleCharacters) / (sampleCount - 1)
    for (let i = 0; i < sampleCount; i++) {
      const at = Math.floor(i * stride)
      this.#sink.text(text.slice(at, at + sampleCharacters))
    }
  }
}

/** How many turns stand before the first that is no instruction. */
function leadingCount(turns: unknown): number {
  if (!Array.isArray(turns)) return 0
  const at = turns.findIndex((turn: unknown) => {
    const role = typeof turn === 'object' && turn !== null ? (turn as { role?: unknown }).role : undefined
    return role !== 'system' && role !== 'developer'
  })
  return at === -1 ? turns.length : at
}
