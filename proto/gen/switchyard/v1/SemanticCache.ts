// Original file: proto/switchyard/v1/resource.proto


export interface SemanticCache {
  'thresholdPpm'?: (number);
  'embeddingRoute'?: (string);
}

export interface SemanticCache__Output {
  'thresholdPpm': (number);
  'embeddingRoute': (string);
}
