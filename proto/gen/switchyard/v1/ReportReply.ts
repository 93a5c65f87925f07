// Original file: proto/switchyard/v1/report.proto

import type { Watermark as _switchyard_v1_Watermark, Watermark__Output as _switchyard_v1_Watermark__Output } from '../../switchyard/v1/Watermark.js';
import type { Credit as _switchyard_v1_Credit, Credit__Output as _switchyard_v1_Credit__Output } from '../../switchyard/v1/Credit.js';

export interface ReportReply {
  'stored'?: (_switchyard_v1_Watermark | null);
  'credit'?: (_switchyard_v1_Credit | null);
  'body'?: "stored"|"credit";
}

export interface ReportReply__Output {
  'stored'?: (_switchyard_v1_Watermark__Output | null);
  'credit'?: (_switchyard_v1_Credit__Output | null);
  'body'?: "stored"|"credit";
}
