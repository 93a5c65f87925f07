// Original file: proto/switchyard/v1/fleet.proto


export interface ResourceEntry {
  'name'?: (string);
  'hash'?: (Buffer | Uint8Array | string);
  'content'?: (Buffer | Uint8Array | string);
}

export interface ResourceEntry__Output {
  'name': (string);
  'hash': (Buffer);
  'content': (Buffer);
}
