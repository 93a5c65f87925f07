// Original file: proto/switchyard/v1/resource.proto

import type { HopDeadlines as _switchyard_v1_HopDeadlines, HopDeadlines__Output as _switchyard_v1_HopDeadlines__Output } from '../../switchyard/v1/HopDeadlines.js';
import type { TargetParameters as _switchyard_v1_TargetParameters, TargetParameters__Output as _switchyard_v1_TargetParameters__Output } from '../../switchyard/v1/TargetParameters.js';
import type { Breaker as _switchyard_v1_Breaker, Breaker__Output as _switchyard_v1_Breaker__Output } from '../../switchyard/v1/Breaker.js';
import type { WarmUp as _switchyard_v1_WarmUp, WarmUp__Output as _switchyard_v1_WarmUp__Output } from '../../switchyard/v1/WarmUp.js';

export interface Target {
  'id'?: (string);
  'providerId'?: (string);
  'modelId'?: (string);
  'upstreamModel'?: (string);
  'deadlines'?: (_switchyard_v1_HopDeadlines | null);
  'weight'?: (number);
  'tier'?: (string);
  'tasks'?: (string)[];
  'quality'?: (number);
  'nodePool'?: (string);
  'owner'?: (string);
  'parameters'?: (_switchyard_v1_TargetParameters | null);
  'breaker'?: (_switchyard_v1_Breaker | null);
  'warmUp'?: (_switchyard_v1_WarmUp | null);
  'batchSize'?: (number);
  'batchWaitMs'?: (number);
}

export interface Target__Output {
  'id': (string);
  'providerId': (string);
  'modelId': (string);
  'upstreamModel': (string);
  'deadlines': (_switchyard_v1_HopDeadlines__Output | null);
  'weight': (number);
  'tier': (string);
  'tasks': (string)[];
  'quality': (number);
  'nodePool': (string);
  'owner': (string);
  'parameters': (_switchyard_v1_TargetParameters__Output | null);
  'breaker': (_switchyard_v1_Breaker__Output | null);
  'warmUp': (_switchyard_v1_WarmUp__Output | null);
  'batchSize': (number);
  'batchWaitMs': (number);
}
