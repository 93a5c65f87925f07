// Original file: proto/switchyard/v1/resource.proto


export interface Hedging {
  'budgetPpm'?: (number);
  'delayMinMs'?: (number);
}

export interface Hedging__Output {
  'budgetPpm': (number);
  'delayMinMs': (number);
}
