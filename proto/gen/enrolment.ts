import type * as grpc from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';

import type { Certificate as _switchyard_v1_Certificate, Certificate__Output as _switchyard_v1_Certificate__Output } from './switchyard/v1/Certificate.js';
import type { EnrolRequest as _switchyard_v1_EnrolRequest, EnrolRequest__Output as _switchyard_v1_EnrolRequest__Output } from './switchyard/v1/EnrolRequest.js';
import type { EnrolResponse as _switchyard_v1_EnrolResponse, EnrolResponse__Output as _switchyard_v1_EnrolResponse__Output } from './switchyard/v1/EnrolResponse.js';
import type { EnrolmentServiceClient as _switchyard_v1_EnrolmentServiceClient, EnrolmentServiceDefinition as _switchyard_v1_EnrolmentServiceDefinition } from './switchyard/v1/EnrolmentService.js';
import type { SigningKey as _switchyard_v1_SigningKey, SigningKey__Output as _switchyard_v1_SigningKey__Output } from './switchyard/v1/SigningKey.js';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  switchyard: {
    v1: {
      Certificate: MessageTypeDefinition<_switchyard_v1_Certificate, _switchyard_v1_Certificate__Output>
      EnrolRequest: MessageTypeDefinition<_switchyard_v1_EnrolRequest, _switchyard_v1_EnrolRequest__Output>
      EnrolResponse: MessageTypeDefinition<_switchyard_v1_EnrolResponse, _switchyard_v1_EnrolResponse__Output>
      EnrolmentService: SubtypeConstructor<typeof grpc.Client, _switchyard_v1_EnrolmentServiceClient> & { service: _switchyard_v1_EnrolmentServiceDefinition }
      SigningKey: MessageTypeDefinition<_switchyard_v1_SigningKey, _switchyard_v1_SigningKey__Output>
    }
  }
}

