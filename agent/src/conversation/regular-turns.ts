import type { AssistantPart, TextPart, Turn, UserPart, UserTurn } from './conversation.js'

/**
 * Makes turns regular as they are read: neighbours of one role become one, and in a user's turn the results of tools come
 * before the rest, because vendors that want all results in one turn want them first.
 */
type OpenTurn =
  | { readonly role: 'user'; readonly at: string; readonly parts: UserPart[] }
  | { readonly role: 'assistant'; readonly at: string; readonly parts: AssistantPart[] }
  | { readonly role: 'system'; readonly at: string; readonly parts: TextPart[] }

export class RegularTurns {
  readonly #turns: OpenTurn[] = []

  get isEmpty(): boolean {
    return this.#turns.length === 0
  }

  addUser(at: string, parts: readonly UserPart[]): void {
    const last = this.#turns.at(-1)
    if (last?.role === 'user') for (const part of parts) last.parts.push(part)
    else if (parts.length > 0) this.#turns.push({ role: 'user', at, parts: [...parts] })
  }

  addAssistant(at: string, parts: readonly AssistantPart[]): void {
    const last = this.#turns.at(-1)
    if (last?.role === 'assistant') for (const part of parts) last.parts.push(part)
    else if (parts.length > 0) this.#turns.push({ role: 'assistant', at, parts: [...parts] })
  }

  addSystem(at: string, parts: readonly TextPart[]): void {
    const last = this.#turns.at(-1)
    if (last?.role === 'system') for (const part of parts) last.parts.push(part)
    else if (parts.length > 0) this.#turns.push({ role: 'system', at, parts: [...parts] })
  }

  finish(): readonly Turn[] {
    return this.#turns.map((turn) => (turn.role === 'user' ? resultsFirst(turn) : turn))
  }
}

function resultsFirst(turn: UserTurn): UserTurn {
  const results = turn.parts.filter(({ type }) => type === 'tool_result')
  if (results.length === 0) return turn
  return { ...turn, parts: [...results, ...turn.parts.filter(({ type }) => type !== 'tool_result')] }
}
