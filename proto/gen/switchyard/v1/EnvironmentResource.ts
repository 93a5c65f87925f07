// Original file: proto/switchyard/v1/resource.proto

import type { CachePurge as _switchyard_v1_CachePurge, CachePurge__Output as _switchyard_v1_CachePurge__Output } from '../../switchyard/v1/CachePurge.js';

export interface EnvironmentResource {
  'tenantId'?: (string);
  'tenantName'?: (string);
  'environmentId'?: (string);
  'environmentName'?: (string);
  'permittedRegions'?: (string)[];
  'routingPreference'?: (string);
  'cachePurges'?: (_switchyard_v1_CachePurge)[];
}

export interface EnvironmentResource__Output {
  'tenantId': (string);
  'tenantName': (string);
  'environmentId': (string);
  'environmentName': (string);
  'permittedRegions': (string)[];
  'routingPreference': (string);
  'cachePurges': (_switchyard_v1_CachePurge__Output)[];
}
