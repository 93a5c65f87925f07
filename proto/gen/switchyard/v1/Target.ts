// Original file: proto/switchyard/v1/resource.proto

import type { HopDeadlines as _switchyard_v1_HopDeadlines, HopDeadlines__Output as _switchyard_v1_HopDeadlines__Output } from '../../switchyard/v1/HopDeadlines.js';

export interface Target {
  'id'?: (string);
  'providerId'?: (string);
  'modelId'?: (string);
  'upstreamModel'?: (string);
  'deadlines'?: (_switchyard_v1_HopDeadlines | null);
}

export interface Target__Output {
  'id': (string);
  'providerId': (string);
  'modelId': (string);
  'upstreamModel': (string);
  'deadlines': (_switchyard_v1_HopDeadlines__Output | null);
}
