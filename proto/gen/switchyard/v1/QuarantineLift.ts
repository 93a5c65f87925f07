// Original file: proto/switchyard/v1/fleet.proto


export interface QuarantineLift {
  'rootHash'?: (Buffer | Uint8Array | string);
}

export interface QuarantineLift__Output {
  'rootHash': (Buffer);
}
