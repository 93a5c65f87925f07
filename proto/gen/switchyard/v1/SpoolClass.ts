// Original file: proto/switchyard/v1/report.proto

export const SpoolClass = {
  SPOOL_CLASS_UNSPECIFIED: 'SPOOL_CLASS_UNSPECIFIED',
  USAGE: 'USAGE',
  SPANS: 'SPANS',
} as const;

export type SpoolClass =
  | 'SPOOL_CLASS_UNSPECIFIED'
  | 0
  | 'USAGE'
  | 1
  | 'SPANS'
  | 2

export type SpoolClass__Output = typeof SpoolClass[keyof typeof SpoolClass]
