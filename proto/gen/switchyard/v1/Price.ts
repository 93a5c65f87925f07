// Original file: proto/switchyard/v1/resource.proto

import type { Long } from '@grpc/proto-loader';

export interface Price {
  'version'?: (number);
  'inputNanoUsdPerMillion'?: (number | string | Long);
  'cachedInputNanoUsdPerMillion'?: (number | string | Long);
  'outputNanoUsdPerMillion'?: (number | string | Long);
  'cacheWriteInputNanoUsdPerMillion'?: (number | string | Long);
  '_cacheWriteInputNanoUsdPerMillion'?: "cacheWriteInputNanoUsdPerMillion";
}

export interface Price__Output {
  'version': (number);
  'inputNanoUsdPerMillion': (number);
  'cachedInputNanoUsdPerMillion': (number);
  'outputNanoUsdPerMillion': (number);
  'cacheWriteInputNanoUsdPerMillion'?: (number);
  '_cacheWriteInputNanoUsdPerMillion'?: "cacheWriteInputNanoUsdPerMillion";
}
