/**
 * What a condition may read: one table, for the checker, for explanations and for the documentation
 * (`control-plane/docs/routing-rules.md` shows it; a test of the routes room holds the two together).
 */
export type VariableType = 'string' | 'double' | 'int' | 'bool' | 'timestamp' | 'headers'

export interface ConditionVariable {
  readonly type: VariableType
  /** One sentence, for people. */
  readonly meaning: string
}

export const conditionVariables = Object.freeze({
  tenant: { type: 'string', meaning: "Id of the API key's tenant." },
  environment: { type: 'string', meaning: "Name of the API key's environment." },
  team: { type: 'string', meaning: "Id of the API key's team; empty without one." },
  key: { type: 'string', meaning: 'Id of the API key.' },
  user: { type: 'string', meaning: 'The end user that the client names; empty where it names none.' },
  session: { type: 'string', meaning: 'The session that the client names; empty where it names none.' },
  model: { type: 'string', meaning: 'What the client put into model: the name of the route.' },
  operation: {
    type: 'string',
    meaning: 'The door: chat_completions, completions, responses, messages, count_tokens or embeddings.',
  },
  headers: {
    type: 'headers',
    meaning: 'The request\'s headers by lower-case name: headers["x-tier"], "x-tier" in headers.',
  },
  prompt_class: {
    type: 'string',
    meaning: 'summarisation, extraction, translation, code, reasoning, chat or other.',
  },
  complexity: { type: 'double', meaning: 'Estimated complexity of the prompt, 0 to 1.' },
  tokens_in: { type: 'int', meaning: 'Estimated tokens of everything that is sent.' },
  stream: { type: 'bool', meaning: 'The client wants the answer as a stream.' },
  region: { type: 'string', meaning: 'Region of the cluster whose agent decides.' },
  now: { type: 'timestamp', meaning: 'The instant of the request: now < timestamp("2027-01-01T00:00:00Z").' },
  hour: { type: 'int', meaning: 'Hour of now in UTC, 0 to 23.' },
  weekday: { type: 'int', meaning: 'Day of now in UTC, 0 (Sunday) to 6, as in CEL.' },
} as const satisfies Record<string, ConditionVariable>)

export type VariableName = keyof typeof conditionVariables

export function isVariableName(name: string): name is VariableName {
  return Object.hasOwn(conditionVariables, name)
}

/**
 * The values at one decision. Null: not known here, so that the condition fails (and counts as false). Whoever makes them
 * may compute on first reading: a condition reads only what it names.
 */
export interface ConditionValues {
  readonly tenant: string
  readonly environment: string
  readonly team: string
  readonly key: string
  readonly user: string
  readonly session: string
  readonly model: string
  readonly operation: string
  readonly prompt_class: string | null
  readonly complexity: number | null
  readonly tokens_in: number | null
  readonly stream: boolean | null
  readonly region: string | null
  /** Milliseconds since 1970. */
  readonly now: number | null
  readonly hour: number | null
  readonly weekday: number | null
  /** By lower-case name. */
  header(name: string): string | undefined
  /** Whether so much may still be searched for this decision: steps of a pattern times characters. Left out: it may. */
  takeWork?(work: number): boolean
}
