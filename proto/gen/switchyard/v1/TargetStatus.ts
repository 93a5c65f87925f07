// Original file: proto/switchyard/v1/fleet.proto


export interface TargetStatus {
  'providerId'?: (string);
  'ready'?: (boolean);
  'reason'?: (string);
}

export interface TargetStatus__Output {
  'providerId': (string);
  'ready': (boolean);
  'reason': (string);
}
