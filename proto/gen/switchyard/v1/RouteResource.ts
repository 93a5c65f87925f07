// Original file: proto/switchyard/v1/resource.proto

import type { Rule as _switchyard_v1_Rule, Rule__Output as _switchyard_v1_Rule__Output } from '../../switchyard/v1/Rule.js';
import type { LastResort as _switchyard_v1_LastResort, LastResort__Output as _switchyard_v1_LastResort__Output } from '../../switchyard/v1/LastResort.js';
import type { Hedging as _switchyard_v1_Hedging, Hedging__Output as _switchyard_v1_Hedging__Output } from '../../switchyard/v1/Hedging.js';
import type { CachePolicy as _switchyard_v1_CachePolicy, CachePolicy__Output as _switchyard_v1_CachePolicy__Output } from '../../switchyard/v1/CachePolicy.js';
import type { Classifier as _switchyard_v1_Classifier, Classifier__Output as _switchyard_v1_Classifier__Output } from '../../switchyard/v1/Classifier.js';

export interface RouteResource {
  'id'?: (string);
  'name'?: (string);
  'rules'?: (_switchyard_v1_Rule)[];
  'totalTimeoutMs'?: (number);
  'unsupportedSettings'?: (string);
  'lastResort'?: (_switchyard_v1_LastResort | null);
  'hedging'?: (_switchyard_v1_Hedging | null);
  'cache'?: (_switchyard_v1_CachePolicy | null);
  'defaultRouteId'?: (string);
  'classifier'?: (_switchyard_v1_Classifier | null);
}

export interface RouteResource__Output {
  'id': (string);
  'name': (string);
  'rules': (_switchyard_v1_Rule__Output)[];
  'totalTimeoutMs': (number);
  'unsupportedSettings': (string);
  'lastResort': (_switchyard_v1_LastResort__Output | null);
  'hedging': (_switchyard_v1_Hedging__Output | null);
  'cache': (_switchyard_v1_CachePolicy__Output | null);
  'defaultRouteId': (string);
  'classifier': (_switchyard_v1_Classifier__Output | null);
}
