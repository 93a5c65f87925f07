/**
 * What an API version of Azure OpenAI knows of chat completions. A dated version refuses members that came after it; `v1`
 * has no date, follows OpenAI, and knows them all. Dates are those of the first version that had a thing. Source:
 * Microsoft's documentation, "Azure OpenAI API version lifecycle", changes from version to version.
 */
const firstDates = Object.freeze({
  /** `response_format` of type `json_schema`, and tools that are `strict`. */
  structuredOutputs: '2024-08-01',
  parallelToolCalls: '2024-09-01',
  /** `max_completion_tokens`; before it `max_tokens`. */
  completionTokens: '2024-09-01',
  /** `stream_options.include_usage`. */
  streamUsage: '2024-09-01',
  reasoningEffort: '2024-12-01',
})

export function knows(apiVersion: string, feature: keyof typeof firstDates): boolean {
  return isUndated(apiVersion) || apiVersion.slice(0, 10) >= firstDates[feature]
}

/** `v1`, which names the deployment in the body, not in the path. */
export function isUndated(apiVersion: string): boolean {
  return apiVersion === 'v1'
}
