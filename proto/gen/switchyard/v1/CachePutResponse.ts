// Original file: proto/switchyard/v1/cache.proto


export interface CachePutResponse {
  'kept'?: (boolean);
}

export interface CachePutResponse__Output {
  'kept': (boolean);
}
