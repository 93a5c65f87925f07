import type * as grpc from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';

import type { Ack as _switchyard_v1_Ack, Ack__Output as _switchyard_v1_Ack__Output } from './switchyard/v1/Ack.js';
import type { AgentHello as _switchyard_v1_AgentHello, AgentHello__Output as _switchyard_v1_AgentHello__Output } from './switchyard/v1/AgentHello.js';
import type { AgentMessage as _switchyard_v1_AgentMessage, AgentMessage__Output as _switchyard_v1_AgentMessage__Output } from './switchyard/v1/AgentMessage.js';
import type { AgentStatus as _switchyard_v1_AgentStatus, AgentStatus__Output as _switchyard_v1_AgentStatus__Output } from './switchyard/v1/AgentStatus.js';
import type { Certificate as _switchyard_v1_Certificate, Certificate__Output as _switchyard_v1_Certificate__Output } from './switchyard/v1/Certificate.js';
import type { CertificateRequest as _switchyard_v1_CertificateRequest, CertificateRequest__Output as _switchyard_v1_CertificateRequest__Output } from './switchyard/v1/CertificateRequest.js';
import type { ControlMessage as _switchyard_v1_ControlMessage, ControlMessage__Output as _switchyard_v1_ControlMessage__Output } from './switchyard/v1/ControlMessage.js';
import type { CredentialEnvelope as _switchyard_v1_CredentialEnvelope, CredentialEnvelope__Output as _switchyard_v1_CredentialEnvelope__Output } from './switchyard/v1/CredentialEnvelope.js';
import type { CredentialEnvelopes as _switchyard_v1_CredentialEnvelopes, CredentialEnvelopes__Output as _switchyard_v1_CredentialEnvelopes__Output } from './switchyard/v1/CredentialEnvelopes.js';
import type { EnrolRequest as _switchyard_v1_EnrolRequest, EnrolRequest__Output as _switchyard_v1_EnrolRequest__Output } from './switchyard/v1/EnrolRequest.js';
import type { EnrolResponse as _switchyard_v1_EnrolResponse, EnrolResponse__Output as _switchyard_v1_EnrolResponse__Output } from './switchyard/v1/EnrolResponse.js';
import type { EnrolmentServiceClient as _switchyard_v1_EnrolmentServiceClient, EnrolmentServiceDefinition as _switchyard_v1_EnrolmentServiceDefinition } from './switchyard/v1/EnrolmentService.js';
import type { FleetServiceClient as _switchyard_v1_FleetServiceClient, FleetServiceDefinition as _switchyard_v1_FleetServiceDefinition } from './switchyard/v1/FleetService.js';
import type { HeldSection as _switchyard_v1_HeldSection, HeldSection__Output as _switchyard_v1_HeldSection__Output } from './switchyard/v1/HeldSection.js';
import type { QuarantineLift as _switchyard_v1_QuarantineLift, QuarantineLift__Output as _switchyard_v1_QuarantineLift__Output } from './switchyard/v1/QuarantineLift.js';
import type { ResourceEntry as _switchyard_v1_ResourceEntry, ResourceEntry__Output as _switchyard_v1_ResourceEntry__Output } from './switchyard/v1/ResourceEntry.js';
import type { ResyncRequest as _switchyard_v1_ResyncRequest, ResyncRequest__Output as _switchyard_v1_ResyncRequest__Output } from './switchyard/v1/ResyncRequest.js';
import type { SectionUpdate as _switchyard_v1_SectionUpdate, SectionUpdate__Output as _switchyard_v1_SectionUpdate__Output } from './switchyard/v1/SectionUpdate.js';
import type { SigningKey as _switchyard_v1_SigningKey, SigningKey__Output as _switchyard_v1_SigningKey__Output } from './switchyard/v1/SigningKey.js';
import type { SigningKeys as _switchyard_v1_SigningKeys, SigningKeys__Output as _switchyard_v1_SigningKeys__Output } from './switchyard/v1/SigningKeys.js';
import type { SnapshotHeader as _switchyard_v1_SnapshotHeader, SnapshotHeader__Output as _switchyard_v1_SnapshotHeader__Output } from './switchyard/v1/SnapshotHeader.js';
import type { SnapshotRefusal as _switchyard_v1_SnapshotRefusal, SnapshotRefusal__Output as _switchyard_v1_SnapshotRefusal__Output } from './switchyard/v1/SnapshotRefusal.js';
import type { SnapshotUpdate as _switchyard_v1_SnapshotUpdate, SnapshotUpdate__Output as _switchyard_v1_SnapshotUpdate__Output } from './switchyard/v1/SnapshotUpdate.js';
import type { TargetStatus as _switchyard_v1_TargetStatus, TargetStatus__Output as _switchyard_v1_TargetStatus__Output } from './switchyard/v1/TargetStatus.js';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  switchyard: {
    v1: {
      Ack: MessageTypeDefinition<_switchyard_v1_Ack, _switchyard_v1_Ack__Output>
      AgentHello: MessageTypeDefinition<_switchyard_v1_AgentHello, _switchyard_v1_AgentHello__Output>
      AgentMessage: MessageTypeDefinition<_switchyard_v1_AgentMessage, _switchyard_v1_AgentMessage__Output>
      AgentStatus: MessageTypeDefinition<_switchyard_v1_AgentStatus, _switchyard_v1_AgentStatus__Output>
      Certificate: MessageTypeDefinition<_switchyard_v1_Certificate, _switchyard_v1_Certificate__Output>
      CertificateRequest: MessageTypeDefinition<_switchyard_v1_CertificateRequest, _switchyard_v1_CertificateRequest__Output>
      ControlMessage: MessageTypeDefinition<_switchyard_v1_ControlMessage, _switchyard_v1_ControlMessage__Output>
      CredentialEnvelope: MessageTypeDefinition<_switchyard_v1_CredentialEnvelope, _switchyard_v1_CredentialEnvelope__Output>
      CredentialEnvelopes: MessageTypeDefinition<_switchyard_v1_CredentialEnvelopes, _switchyard_v1_CredentialEnvelopes__Output>
      EnrolRequest: MessageTypeDefinition<_switchyard_v1_EnrolRequest, _switchyard_v1_EnrolRequest__Output>
      EnrolResponse: MessageTypeDefinition<_switchyard_v1_EnrolResponse, _switchyard_v1_EnrolResponse__Output>
      EnrolmentService: SubtypeConstructor<typeof grpc.Client, _switchyard_v1_EnrolmentServiceClient> & { service: _switchyard_v1_EnrolmentServiceDefinition }
      FleetService: SubtypeConstructor<typeof grpc.Client, _switchyard_v1_FleetServiceClient> & { service: _switchyard_v1_FleetServiceDefinition }
      HeldSection: MessageTypeDefinition<_switchyard_v1_HeldSection, _switchyard_v1_HeldSection__Output>
      QuarantineLift: MessageTypeDefinition<_switchyard_v1_QuarantineLift, _switchyard_v1_QuarantineLift__Output>
      ResourceEntry: MessageTypeDefinition<_switchyard_v1_ResourceEntry, _switchyard_v1_ResourceEntry__Output>
      ResyncRequest: MessageTypeDefinition<_switchyard_v1_ResyncRequest, _switchyard_v1_ResyncRequest__Output>
      SectionUpdate: MessageTypeDefinition<_switchyard_v1_SectionUpdate, _switchyard_v1_SectionUpdate__Output>
      SigningKey: MessageTypeDefinition<_switchyard_v1_SigningKey, _switchyard_v1_SigningKey__Output>
      SigningKeys: MessageTypeDefinition<_switchyard_v1_SigningKeys, _switchyard_v1_SigningKeys__Output>
      SnapshotHeader: MessageTypeDefinition<_switchyard_v1_SnapshotHeader, _switchyard_v1_SnapshotHeader__Output>
      SnapshotRefusal: MessageTypeDefinition<_switchyard_v1_SnapshotRefusal, _switchyard_v1_SnapshotRefusal__Output>
      SnapshotUpdate: MessageTypeDefinition<_switchyard_v1_SnapshotUpdate, _switchyard_v1_SnapshotUpdate__Output>
      TargetStatus: MessageTypeDefinition<_switchyard_v1_TargetStatus, _switchyard_v1_TargetStatus__Output>
    }
  }
}

