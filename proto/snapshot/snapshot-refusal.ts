/**
 * Why an agent did not apply a snapshot or a section of one. The set is closed: it travels as text so that an older control
 * plane shows what a newer agent said, but neither side makes up codes elsewhere.
 *
 * `retryable: false` means: a function of verified content and agent version. Such content is quarantined under (agent
 * version, view, root) and never offered to that version again until an operator lifts it. Everything that depends on what
 * this one agent holds, on its limits, its disk, or on bytes whose signature did not hold stays retryable (with backoff):
 * otherwise one forged header or one small agent could keep good content from all of its siblings.
 */
const codes = {
  // Unverified bytes, or bytes against what this agent holds.
  malformed: { retryable: true },
  key_unknown: { retryable: true },
  signature_invalid: { retryable: true },
  view_foreign: { retryable: true },
  epoch_older: { retryable: true },
  generation_older: { retryable: true },
  generation_reused: { retryable: true },
  resource_hash_mismatch: { retryable: true },
  section_hash_mismatch: { retryable: true },
  root_mismatch: { retryable: true },
  names_missing: { retryable: true },
  section_older: { retryable: true },
  // This agent's own means.
  too_large: { retryable: true },
  too_many_resources: { retryable: true },
  disk_failed: { retryable: true },
  memory: { retryable: true },
  deadline: { retryable: true },
  // Verified content that this version cannot use.
  resource_malformed: { retryable: false },
  resource_misplaced: { retryable: false },
  name_mismatch: { retryable: false },
  environment_missing: { retryable: false },
  route_name_taken: { retryable: false },
  rule_missing: { retryable: false },
  target_missing: { retryable: false },
  target_id_taken: { retryable: false },
  target_provider_missing: { retryable: false },
  target_model_missing: { retryable: false },
  target_region_not_permitted: { retryable: false },
  target_capability_mismatch: { retryable: false },
  classifier_provider_missing: { retryable: false },
  classifier_region_not_permitted: { retryable: false },
  /** Said by agents of a release without conditions. */
  condition_unsupported: { retryable: false },
  condition_invalid: { retryable: false },
  word_unknown: { retryable: false },
  weights_missing: { retryable: false },
  tiers_missing: { retryable: false },
  thresholds_invalid: { retryable: false },
  breaker_invalid: { retryable: false },
  default_route_missing: { retryable: false },
  vendor_field_missing: { retryable: false },
  deadline_invalid: { retryable: false },
  url_invalid: { retryable: false },
  key_hash_invalid: { retryable: false },
  key_hash_taken: { retryable: false },
} as const satisfies Record<string, { retryable: boolean }>

export type SnapshotRefusalCode = keyof typeof codes
export const snapshotRefusalCodes: Readonly<Record<SnapshotRefusalCode, { readonly retryable: boolean }>> =
  Object.freeze(codes)

/** Assignable to the wire's SnapshotRefusal. Empty `section`: the whole snapshot. */
export interface SnapshotRefusal {
  readonly code: SnapshotRefusalCode
  readonly section: string
  readonly resource: string
  readonly path: string
  readonly message: string
  readonly retryable: boolean
}

export interface RefusalPlace {
  readonly section?: string
  readonly resource?: string
  readonly path?: string
}

/** A frozen refusal; whether it is retryable follows from its code. */
export function snapshotRefusal(code: SnapshotRefusalCode, message: string, place: RefusalPlace = {}): SnapshotRefusal {
  return Object.freeze({
    code,
    section: place.section ?? '',
    resource: place.resource ?? '',
    path: place.path ?? '',
    message,
    retryable: codes[code].retryable,
  })
}

export function isSnapshotRefusalCode(code: string): code is SnapshotRefusalCode {
  return Object.hasOwn(codes, code)
}
