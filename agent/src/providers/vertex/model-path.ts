import type { TargetTable } from '../../../../proto/policy/tables.js'

/**
 * Where a model is called. A plain id is one of Google's own models; `publishers/…` names another publisher's model in the
 * provider's project and location, `projects/…` says all of it (a tuned model's endpoint). Source: Vertex AI's REST
 * reference, `projects.locations.publishers.models.generateContent` and `projects.locations.endpoints.generateContent`.
 */
export function modelPath({ provider, upstreamModel }: TargetTable, stream: boolean): string {
  const { basePath, vendorProject, vendorRegion } = provider
  const method = stream ? 'streamGenerateContent?alt=sse' : 'generateContent'
  if (upstreamModel.startsWith('projects/')) return `${basePath}/v1/${segments(upstreamModel)}:${method}`
  const model = upstreamModel.startsWith('publishers/')
    ? segments(upstreamModel)
    : `publishers/google/models/${segment(upstreamModel)}`
  return `${basePath}/v1/projects/${segment(vendorProject)}/locations/${segment(vendorRegion)}/${model}:${method}`
}

function segments(path: string): string {
  return path.split('/').map(segment).join('/')
}

/** A project's id may begin with a domain and a colon, a model's version stands behind an at sign: both stay readable. */
function segment(text: string): string {
  return encodeURIComponent(text).replaceAll('%3A', ':').replaceAll('%40', '@')
}
