// Original file: proto/switchyard/v1/enrolment.proto


export interface EnrolRequest {
  'joinToken'?: (string);
  'csrDer'?: (Buffer | Uint8Array | string);
  'sealingPublicKey'?: (Buffer | Uint8Array | string);
  'agentVersion'?: (string);
  'agentName'?: (string);
  'lapsedCertificateDer'?: (Buffer | Uint8Array | string);
  'lapsedKeySignature'?: (Buffer | Uint8Array | string);
}

export interface EnrolRequest__Output {
  'joinToken': (string);
  'csrDer': (Buffer);
  'sealingPublicKey': (Buffer);
  'agentVersion': (string);
  'agentName': (string);
  'lapsedCertificateDer': (Buffer);
  'lapsedKeySignature': (Buffer);
}
