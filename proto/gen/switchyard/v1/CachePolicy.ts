// Original file: proto/switchyard/v1/resource.proto

import type { CacheTtl as _switchyard_v1_CacheTtl, CacheTtl__Output as _switchyard_v1_CacheTtl__Output } from '../../switchyard/v1/CacheTtl.js';
import type { SemanticCache as _switchyard_v1_SemanticCache, SemanticCache__Output as _switchyard_v1_SemanticCache__Output } from '../../switchyard/v1/SemanticCache.js';

export interface CachePolicy {
  'anyTemperature'?: (boolean);
  'sharedBy'?: (string);
  'ttls'?: (_switchyard_v1_CacheTtl)[];
  'ttlSeconds'?: (number);
  'ageMaxSeconds'?: (number);
  'staleSeconds'?: (number);
  'shared'?: (boolean);
  'semantic'?: (_switchyard_v1_SemanticCache | null);
  'detailApiKeyIds'?: (string)[];
  'tags'?: (string)[];
}

export interface CachePolicy__Output {
  'anyTemperature': (boolean);
  'sharedBy': (string);
  'ttls': (_switchyard_v1_CacheTtl__Output)[];
  'ttlSeconds': (number);
  'ageMaxSeconds': (number);
  'staleSeconds': (number);
  'shared': (boolean);
  'semantic': (_switchyard_v1_SemanticCache__Output | null);
  'detailApiKeyIds': (string)[];
  'tags': (string)[];
}
