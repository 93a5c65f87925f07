// Original file: proto/switchyard/v1/resource.proto


export interface CacheTtl {
  'promptClass'?: (string);
  'seconds'?: (number);
}

export interface CacheTtl__Output {
  'promptClass': (string);
  'seconds': (number);
}
