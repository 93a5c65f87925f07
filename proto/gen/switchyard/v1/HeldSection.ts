// Original file: proto/switchyard/v1/fleet.proto


export interface HeldSection {
  'name'?: (string);
  'hash'?: (Buffer | Uint8Array | string);
}

export interface HeldSection__Output {
  'name': (string);
  'hash': (Buffer);
}
