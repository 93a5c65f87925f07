// Original file: proto/switchyard/v1/report.proto

import type { Long } from '@grpc/proto-loader';

export interface Hop {
  'index'?: (number);
  'targetId'?: (string);
  'providerId'?: (string);
  'modelId'?: (string);
  'upstreamModel'?: (string);
  'outcome'?: (string);
  'httpStatus'?: (number);
  'startedUs'?: (number | string | Long);
  'durationUs'?: (number | string | Long);
}

export interface Hop__Output {
  'index': (number);
  'targetId': (string);
  'providerId': (string);
  'modelId': (string);
  'upstreamModel': (string);
  'outcome': (string);
  'httpStatus': (number);
  'startedUs': (number);
  'durationUs': (number);
}
