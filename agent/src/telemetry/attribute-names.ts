/** Names of span attributes: OpenTelemetry's for generative AI where it has one, ours with our prefix where not. */
export const attributeNames = Object.freeze({
  operation: 'gen_ai.operation.name',
  providerName: 'gen_ai.provider.name',
  requestModel: 'gen_ai.request.model',
  responseModel: 'gen_ai.response.model',
  inputTokens: 'gen_ai.usage.input_tokens',
  outputTokens: 'gen_ai.usage.output_tokens',
  temperature: 'gen_ai.request.temperature',
  errorType: 'error.type',
  httpStatus: 'http.response.status_code',
  requestId: 'switchyard.request.id',
  route: 'switchyard.route',
  target: 'switchyard.target',
  hop: 'switchyard.hop',
  outcome: 'switchyard.outcome',
  explanation: 'switchyard.explanation',
})
