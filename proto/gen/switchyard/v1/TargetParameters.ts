// Original file: proto/switchyard/v1/resource.proto


export interface TargetParameters {
  'temperature'?: (number | string);
  'outputTokensMax'?: (number);
  '_temperature'?: "temperature";
  '_outputTokensMax'?: "outputTokensMax";
}

export interface TargetParameters__Output {
  'temperature'?: (number);
  'outputTokensMax'?: (number);
  '_temperature'?: "temperature";
  '_outputTokensMax'?: "outputTokensMax";
}
