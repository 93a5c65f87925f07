// Original file: proto/switchyard/v1/resource.proto


export interface Classifier {
  'providerId'?: (string);
  'timeoutMs'?: (number);
}

export interface Classifier__Output {
  'providerId': (string);
  'timeoutMs': (number);
}
