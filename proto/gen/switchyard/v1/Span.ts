// Original file: proto/switchyard/v1/report.proto

import type { Attribute as _switchyard_v1_Attribute, Attribute__Output as _switchyard_v1_Attribute__Output } from '../../switchyard/v1/Attribute.js';
import type { Long } from '@grpc/proto-loader';

export interface Span {
  'traceId'?: (string);
  'spanId'?: (string);
  'parentSpanId'?: (string);
  'name'?: (string);
  'kind'?: (number);
  'startUnixUs'?: (number | string | Long);
  'endUnixUs'?: (number | string | Long);
  'status'?: (string);
  'attributes'?: (_switchyard_v1_Attribute)[];
  'tenantId'?: (string);
  'environmentId'?: (string);
}

export interface Span__Output {
  'traceId': (string);
  'spanId': (string);
  'parentSpanId': (string);
  'name': (string);
  'kind': (number);
  'startUnixUs': (number);
  'endUnixUs': (number);
  'status': (string);
  'attributes': (_switchyard_v1_Attribute__Output)[];
  'tenantId': (string);
  'environmentId': (string);
}
