// Original file: proto/switchyard/v1/fleet.proto


export interface CertificateRequest {
  'csrDer'?: (Buffer | Uint8Array | string);
}

export interface CertificateRequest__Output {
  'csrDer': (Buffer);
}
