import type { ExplainRouteInput } from '../client.js'
import { CliFault } from './settings.js'

/** What a suite asks of a classifier: as an agent would, of the same text, on the same wire. */
export interface ClassifierAddress {
  /** Without a trailing slash; `/classify` is put behind it. */
  readonly url: string
  /** Null: it wants none. */
  readonly token: string | null
}

export interface ClassifierQuestion {
  readonly prompt: string
  readonly turnCount: number
  readonly toolCount: number
  readonly tokensIn: number
  readonly model: string
}

/** Null members: it did not say. */
export interface ClassifierAnswer {
  readonly complexity: number | null
  readonly promptClass: ExplainRouteInput['promptClass']
}

/** The longest that a route may let a request wait. */
const timeoutMs = 2_000
const answerBytesMax = 16 * 1024
/** Characters of a prompt that are looked at, half of them from either end. */
const textCharactersMax = 16_384
const classes = ['SUMMARISATION', 'EXTRACTION', 'TRANSLATION', 'CODE', 'REASONING', 'CHAT', 'OTHER'] as const

export function classifierAddress(text: string, token: string | null): ClassifierAddress {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new CliFault(`--classifier is ${JSON.stringify(text)}: expected a URL such as http://classifier:8080`)
  }
  return { url: text.replace(/\/+$/, ''), token }
}

/** What the classifier says, or in words why an agent would estimate instead. */
export async function askClassifier(
  { url, token }: ClassifierAddress,
  { prompt, turnCount, toolCount, tokensIn, model }: ClassifierQuestion,
): Promise<ClassifierAnswer | string> {
  const body = { text: bothEnds(prompt), turns: turnCount, tools: toolCount, images: 0, tokens: tokensIn, model }
  try {
    const response = await fetch(`${url}/classify`, {
      ...{ method: 'POST', redirect: 'manual', signal: AbortSignal.timeout(timeoutMs), body: JSON.stringify(body) },
      headers: {
        ...{ 'content-type': 'application/json', accept: 'application/json' },
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      },
    })
    const bytes = await response.arrayBuffer()
    if (response.status !== 200) return `HTTP ${response.status}`
    if (bytes.byteLength > answerBytesMax) return `more than ${answerBytesMax} bytes`
    return readAnswer(new TextDecoder().decode(bytes))
  } catch (fault) {
    if ((fault as Error).name === 'TimeoutError') return `nothing within ${timeoutMs} ms`
    const { cause } = fault as { cause?: { code?: string } }
    return cause?.code ?? 'cannot be reached'
  }
}

function bothEnds(text: string): string {
  const half = textCharactersMax / 2
  return text.length <= textCharactersMax ? text : `${text.slice(0, half)}\n${text.slice(-half)}`
}

function readAnswer(text: string): ClassifierAnswer | string {
  let answer: unknown
  try {
    answer = JSON.parse(text)
  } catch {
    return 'no JSON'
  }
  if (typeof answer !== 'object' || answer === null || Array.isArray(answer)) return 'no object'
  const { complexity = null, class: named = null, label = null } = answer as Record<string, unknown>
  if (complexity !== null && !(typeof complexity === 'number' && complexity >= 0 && complexity <= 1)) {
    return 'a complexity that is not from 0 to 1'
  }
  const promptClass = named === null ? null : classes.find((one) => one.toLowerCase() === named)
  if (promptClass === undefined) return 'a class that is none of ours'
  if (label !== null && typeof label !== 'string') return 'a label that is no text'
  return { complexity, promptClass }
}
