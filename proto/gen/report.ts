import type * as grpc from '@grpc/grpc-js';
import type { EnumTypeDefinition, MessageTypeDefinition } from '@grpc/proto-loader';

import type { Attribute as _switchyard_v1_Attribute, Attribute__Output as _switchyard_v1_Attribute__Output } from './switchyard/v1/Attribute.js';
import type { Batch as _switchyard_v1_Batch, Batch__Output as _switchyard_v1_Batch__Output } from './switchyard/v1/Batch.js';
import type { Credit as _switchyard_v1_Credit, Credit__Output as _switchyard_v1_Credit__Output } from './switchyard/v1/Credit.js';
import type { DeclaredDrop as _switchyard_v1_DeclaredDrop, DeclaredDrop__Output as _switchyard_v1_DeclaredDrop__Output } from './switchyard/v1/DeclaredDrop.js';
import type { Hop as _switchyard_v1_Hop, Hop__Output as _switchyard_v1_Hop__Output } from './switchyard/v1/Hop.js';
import type { Lane as _switchyard_v1_Lane, Lane__Output as _switchyard_v1_Lane__Output } from './switchyard/v1/Lane.js';
import type { Record as _switchyard_v1_Record, Record__Output as _switchyard_v1_Record__Output } from './switchyard/v1/Record.js';
import type { ReportHello as _switchyard_v1_ReportHello, ReportHello__Output as _switchyard_v1_ReportHello__Output } from './switchyard/v1/ReportHello.js';
import type { ReportMessage as _switchyard_v1_ReportMessage, ReportMessage__Output as _switchyard_v1_ReportMessage__Output } from './switchyard/v1/ReportMessage.js';
import type { ReportReply as _switchyard_v1_ReportReply, ReportReply__Output as _switchyard_v1_ReportReply__Output } from './switchyard/v1/ReportReply.js';
import type { ReportServiceClient as _switchyard_v1_ReportServiceClient, ReportServiceDefinition as _switchyard_v1_ReportServiceDefinition } from './switchyard/v1/ReportService.js';
import type { Span as _switchyard_v1_Span, Span__Output as _switchyard_v1_Span__Output } from './switchyard/v1/Span.js';
import type { UsageRecord as _switchyard_v1_UsageRecord, UsageRecord__Output as _switchyard_v1_UsageRecord__Output } from './switchyard/v1/UsageRecord.js';
import type { Watermark as _switchyard_v1_Watermark, Watermark__Output as _switchyard_v1_Watermark__Output } from './switchyard/v1/Watermark.js';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  switchyard: {
    v1: {
      Attribute: MessageTypeDefinition<_switchyard_v1_Attribute, _switchyard_v1_Attribute__Output>
      Batch: MessageTypeDefinition<_switchyard_v1_Batch, _switchyard_v1_Batch__Output>
      Credit: MessageTypeDefinition<_switchyard_v1_Credit, _switchyard_v1_Credit__Output>
      DeclaredDrop: MessageTypeDefinition<_switchyard_v1_DeclaredDrop, _switchyard_v1_DeclaredDrop__Output>
      Hop: MessageTypeDefinition<_switchyard_v1_Hop, _switchyard_v1_Hop__Output>
      Lane: MessageTypeDefinition<_switchyard_v1_Lane, _switchyard_v1_Lane__Output>
      Record: MessageTypeDefinition<_switchyard_v1_Record, _switchyard_v1_Record__Output>
      ReportHello: MessageTypeDefinition<_switchyard_v1_ReportHello, _switchyard_v1_ReportHello__Output>
      ReportMessage: MessageTypeDefinition<_switchyard_v1_ReportMessage, _switchyard_v1_ReportMessage__Output>
      ReportReply: MessageTypeDefinition<_switchyard_v1_ReportReply, _switchyard_v1_ReportReply__Output>
      ReportService: SubtypeConstructor<typeof grpc.Client, _switchyard_v1_ReportServiceClient> & { service: _switchyard_v1_ReportServiceDefinition }
      Span: MessageTypeDefinition<_switchyard_v1_Span, _switchyard_v1_Span__Output>
      SpoolClass: EnumTypeDefinition
      UsageRecord: MessageTypeDefinition<_switchyard_v1_UsageRecord, _switchyard_v1_UsageRecord__Output>
      Watermark: MessageTypeDefinition<_switchyard_v1_Watermark, _switchyard_v1_Watermark__Output>
    }
  }
}

