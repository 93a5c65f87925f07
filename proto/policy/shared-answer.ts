import { ageSecondsMax } from './cache-policy.js'

/** What agents and control plane agree on about answers that agents share through it. */

/** Of an answer's name. */
export const sharedNameBytes = 32
/** Of an answer, encrypted. */
export const sharedValueBytesMax = 1024 * 1024
/** For which one is kept at most. */
export const sharedSecondsMax = ageSecondsMax
