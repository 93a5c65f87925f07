// Original file: proto/switchyard/v1/fleet.proto


export interface ResyncRequest {
  'reason'?: (string);
}

export interface ResyncRequest__Output {
  'reason': (string);
}
