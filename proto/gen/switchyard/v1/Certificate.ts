// Original file: proto/switchyard/v1/enrolment.proto

import type { Long } from '@grpc/proto-loader';

export interface Certificate {
  'chainDer'?: (Buffer | Uint8Array | string)[];
  'caDer'?: (Buffer | Uint8Array | string)[];
  'notBeforeUnixMs'?: (number | string | Long);
  'notAfterUnixMs'?: (number | string | Long);
}

export interface Certificate__Output {
  'chainDer': (Buffer)[];
  'caDer': (Buffer)[];
  'notBeforeUnixMs': (number);
  'notAfterUnixMs': (number);
}
