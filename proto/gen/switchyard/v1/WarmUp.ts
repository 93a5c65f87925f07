// Original file: proto/switchyard/v1/resource.proto


export interface WarmUp {
  'intervalMs'?: (number);
}

export interface WarmUp__Output {
  'intervalMs': (number);
}
