// Original file: proto/switchyard/v1/resource.proto

import type { Price as _switchyard_v1_Price, Price__Output as _switchyard_v1_Price__Output } from '../../switchyard/v1/Price.js';

export interface ModelResource {
  'id'?: (string);
  'name'?: (string);
  'upstreamModel'?: (string);
  'capabilities'?: (string)[];
  'price'?: (_switchyard_v1_Price | null);
  'contextTokensMax'?: (number);
  'outputTokensMax'?: (number);
}

export interface ModelResource__Output {
  'id': (string);
  'name': (string);
  'upstreamModel': (string);
  'capabilities': (string)[];
  'price': (_switchyard_v1_Price__Output | null);
  'contextTokensMax': (number);
  'outputTokensMax': (number);
}
