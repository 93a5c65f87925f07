/**
 * What a model's id says of its generation: `gemini-2.5-flash` is of 2.5. An id that says nothing (an endpoint of a tuned
 * model, a name to come) is taken for the newest, because only what is older is known for certain.
 */
export function generationOf(upstreamModel: string): number {
  const match = /(?:^|\/)gemini-(\d+(?:\.\d+)?)(?:-|$)/.exec(upstreamModel)
  return match === null ? Number.POSITIVE_INFINITY : Number(match[1])
}
