// Original file: proto/switchyard/v1/resource.proto

import type { Rule as _switchyard_v1_Rule, Rule__Output as _switchyard_v1_Rule__Output } from '../../switchyard/v1/Rule.js';

export interface RouteResource {
  'id'?: (string);
  'name'?: (string);
  'rules'?: (_switchyard_v1_Rule)[];
  'totalTimeoutMs'?: (number);
  'unsupportedSettings'?: (string);
}

export interface RouteResource__Output {
  'id': (string);
  'name': (string);
  'rules': (_switchyard_v1_Rule__Output)[];
  'totalTimeoutMs': (number);
  'unsupportedSettings': (string);
}
