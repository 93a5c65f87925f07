// Original file: proto/switchyard/v1/cache.proto


export interface CacheGetRequest {
  'name'?: (Buffer | Uint8Array | string);
  'bytesMax'?: (number);
}

export interface CacheGetRequest__Output {
  'name': (Buffer);
  'bytesMax': (number);
}
