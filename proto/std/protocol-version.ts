import { assert } from './assert.js'

/**
 * The wire between agent and control plane. 1: enrolment, configuration, reporting.
 * The floor may rise only after every enrolled agent speaks a newer one.
 */
export const protocolVersion = 1
export const protocolVersionOldest = 1

assert(protocolVersionOldest <= protocolVersion, 'the oldest protocol is not newer than the newest')
