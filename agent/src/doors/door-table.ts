import type { IncomingHttpHeaders } from 'node:http'
import type { Operation } from '../providers/provider-dialect.js'
import type { Door } from '../request/ports.js'
import { chatCompletionsDoor } from './chat-completions/door.js'
import { completionsDoor } from './completions/door.js'
import { embeddingsDoor } from './embeddings/door.js'
import { countTokensDoor, messagesDoor } from './messages/door.js'
import { anthropicModelsDoor, modelsDoor } from './models/door.js'
import { responsesDoor } from './responses/door.js'

const doors: Readonly<Record<Operation, Door>> = Object.freeze({
  chat_completions: chatCompletionsDoor,
  completions: completionsDoor,
  responses: responsesDoor,
  embeddings: embeddingsDoor,
  messages: messagesDoor,
  count_tokens: countTokensDoor,
  models: modelsDoor,
})

/** The door that serves `operation`. Models are listed in two ways; a client of Anthropic's says so in a header. */
export function doorOf(operation: Operation, headers: IncomingHttpHeaders = {}): Door {
  return operation === 'models' && headers['anthropic-version'] !== undefined ? anthropicModelsDoor : doors[operation]
}
