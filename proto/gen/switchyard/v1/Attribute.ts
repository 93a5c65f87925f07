// Original file: proto/switchyard/v1/report.proto

import type { Long } from '@grpc/proto-loader';

export interface Attribute {
  'key'?: (string);
  'text'?: (string);
  'integer'?: (number | string | Long);
  'real'?: (number | string);
  'flag'?: (boolean);
  'value'?: "text"|"integer"|"real"|"flag";
}

export interface Attribute__Output {
  'key': (string);
  'text'?: (string);
  'integer'?: (number);
  'real'?: (number);
  'flag'?: (boolean);
  'value'?: "text"|"integer"|"real"|"flag";
}
