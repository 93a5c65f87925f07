// Original file: proto/switchyard/v1/cache.proto


export interface CacheGetResponse {
  'value'?: (Buffer | Uint8Array | string);
  '_value'?: "value";
}

export interface CacheGetResponse__Output {
  'value'?: (Buffer);
  '_value'?: "value";
}
