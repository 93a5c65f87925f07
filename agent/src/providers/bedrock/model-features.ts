import type { TargetTable } from '../../../../proto/policy/tables.js'
import { takesOneSampling, takesSampling } from '../anthropic/model-rules.js'

/**
 * What the model behind a target is known to take of what Converse can say. Only a definite "no" of AWS's documentation is
 * one here, so that the next target is tried instead; what is not known is sent, and AWS refuses it in its own words.
 * Source: AWS's Bedrock user guide, "Supported models and model features" (of Converse), "Get validated JSON results from
 * models", "Anthropic Claude Messages API"; API reference, "ToolChoice".
 */
export interface ModelFeatures {
  /** Id of the model as far as it is known, for rules that go by its name. */
  readonly modelId: string
  readonly isClaude: boolean
  readonly takesSystem: boolean
  readonly takesTools: boolean
  readonly takesImages: boolean
  readonly takesDocuments: boolean
  /** Can be made to call one certain tool. */
  readonly takesToolChoice: boolean
  /** `outputConfig.textFormat` and strict tools. */
  readonly takesSchemas: boolean
  /** `temperature`, `topP` and `top_k` other than the defaults. */
  readonly takesSampling: boolean
  /** Of `temperature` and `topP` only one at a time. */
  readonly takesOneSampling: boolean
}

const claude = /claude-/
/** Before tools and pictures. */
const olderClaude = /claude-(?:instant|v[12])/
/** Up to 4.1. */
const claudeBeforeSchemas = /claude-(?:instant|v[12]|3|(?:opus|sonnet)-4(?:-1)?-\d{8})/
const nova = /amazon\.nova-/
const titan = /amazon\.titan-t/
/** The open-weight models of 2023; its later ones take all. */
const mistralInstruct = /mistral\.(?:mistral-7b|mixtral-8x7b)-instruct/

export function featuresOf(target: TargetTable): ModelFeatures {
  const modelId = modelIdOf(target)
  const isClaude = claude.test(modelId)
  const isTextOnly = titan.test(modelId) || mistralInstruct.test(modelId)
  const hasTools = !isTextOnly && !olderClaude.test(modelId)
  return {
    modelId,
    isClaude,
    takesSystem: !isTextOnly,
    takesTools: hasTools,
    takesImages: hasTools,
    takesDocuments: !/titan-text-premier/.test(modelId),
    takesToolChoice: hasTools && (isClaude || nova.test(modelId)),
    takesSchemas: hasTools && !claudeBeforeSchemas.test(modelId) && !nova.test(modelId),
    takesSampling: !isClaude || takesSampling(modelId),
    takesOneSampling: isClaude && takesOneSampling(modelId),
  }
}

/**
 * An application's own inference profile and provisioned throughput have ARNs that do not tell the model: then the id in the
 * registry counts, where the target names the ARN and the model does not.
 */
function modelIdOf({ upstreamModel, model }: TargetTable): string {
  const isOpaque = /:(?:application-inference-profile|provisioned-model|custom-model-deployment|prompt)\//.test(
    upstreamModel,
  )
  return isOpaque ? model.upstreamModel : upstreamModel
}
