// Original file: proto/switchyard/v1/resource.proto


export interface Breaker {
  'failures'?: (number);
  'openMs'?: (number);
  'failurePpm'?: (number);
  'windowMs'?: (number);
  'requestsMin'?: (number);
}

export interface Breaker__Output {
  'failures': (number);
  'openMs': (number);
  'failurePpm': (number);
  'windowMs': (number);
  'requestsMin': (number);
}
