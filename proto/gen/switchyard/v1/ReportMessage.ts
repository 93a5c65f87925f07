// Original file: proto/switchyard/v1/report.proto

import type { ReportHello as _switchyard_v1_ReportHello, ReportHello__Output as _switchyard_v1_ReportHello__Output } from '../../switchyard/v1/ReportHello.js';
import type { Batch as _switchyard_v1_Batch, Batch__Output as _switchyard_v1_Batch__Output } from '../../switchyard/v1/Batch.js';
import type { DeclaredDrop as _switchyard_v1_DeclaredDrop, DeclaredDrop__Output as _switchyard_v1_DeclaredDrop__Output } from '../../switchyard/v1/DeclaredDrop.js';

export interface ReportMessage {
  'hello'?: (_switchyard_v1_ReportHello | null);
  'batch'?: (_switchyard_v1_Batch | null);
  'drop'?: (_switchyard_v1_DeclaredDrop | null);
  'body'?: "hello"|"batch"|"drop";
}

export interface ReportMessage__Output {
  'hello'?: (_switchyard_v1_ReportHello__Output | null);
  'batch'?: (_switchyard_v1_Batch__Output | null);
  'drop'?: (_switchyard_v1_DeclaredDrop__Output | null);
  'body'?: "hello"|"batch"|"drop";
}
