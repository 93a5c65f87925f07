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
  'tokensIn'?: (number | string | Long);
  'tokensOut'?: (number | string | Long);
  'costNanoUsd'?: (number | string | Long);
  '_tokensIn'?: "tokensIn";
  '_tokensOut'?: "tokensOut";
  '_costNanoUsd'?: "costNanoUsd";
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
  'tokensIn'?: (number);
  'tokensOut'?: (number);
  'costNanoUsd'?: (number);
  '_tokensIn'?: "tokensIn";
  '_tokensOut'?: "tokensOut";
  '_costNanoUsd'?: "costNanoUsd";
}
