// Original file: proto/switchyard/v1/fleet.proto

import type { AgentHello as _switchyard_v1_AgentHello, AgentHello__Output as _switchyard_v1_AgentHello__Output } from '../../switchyard/v1/AgentHello.js';
import type { Ack as _switchyard_v1_Ack, Ack__Output as _switchyard_v1_Ack__Output } from '../../switchyard/v1/Ack.js';
import type { ResyncRequest as _switchyard_v1_ResyncRequest, ResyncRequest__Output as _switchyard_v1_ResyncRequest__Output } from '../../switchyard/v1/ResyncRequest.js';
import type { CertificateRequest as _switchyard_v1_CertificateRequest, CertificateRequest__Output as _switchyard_v1_CertificateRequest__Output } from '../../switchyard/v1/CertificateRequest.js';
import type { AgentStatus as _switchyard_v1_AgentStatus, AgentStatus__Output as _switchyard_v1_AgentStatus__Output } from '../../switchyard/v1/AgentStatus.js';

export interface AgentMessage {
  'hello'?: (_switchyard_v1_AgentHello | null);
  'ack'?: (_switchyard_v1_Ack | null);
  'resync'?: (_switchyard_v1_ResyncRequest | null);
  'certificateRequest'?: (_switchyard_v1_CertificateRequest | null);
  'status'?: (_switchyard_v1_AgentStatus | null);
  'body'?: "hello"|"ack"|"resync"|"certificateRequest"|"status";
}

export interface AgentMessage__Output {
  'hello'?: (_switchyard_v1_AgentHello__Output | null);
  'ack'?: (_switchyard_v1_Ack__Output | null);
  'resync'?: (_switchyard_v1_ResyncRequest__Output | null);
  'certificateRequest'?: (_switchyard_v1_CertificateRequest__Output | null);
  'status'?: (_switchyard_v1_AgentStatus__Output | null);
  'body'?: "hello"|"ack"|"resync"|"certificateRequest"|"status";
}
