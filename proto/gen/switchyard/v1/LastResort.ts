// Original file: proto/switchyard/v1/resource.proto


export interface LastResort {
  'cachedAgeMaxSeconds'?: (number);
  'apology'?: (string);
  'safeAnswer'?: (string);
}

export interface LastResort__Output {
  'cachedAgeMaxSeconds': (number);
  'apology': (string);
  'safeAnswer': (string);
}
