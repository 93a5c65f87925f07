import { type LookupAddress, lookup } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'

/**
 * Which addresses nobody may be made to call. Names are resolved by whoever connects, so the control plane (a test of a
 * provider) and the agent (every connection to an upstream) ask the same question at the same moment: when they connect.
 */
export class ForbiddenAddressError extends Error {
  readonly code = 'FORBIDDEN_ADDRESS'

  constructor() {
    super('the name resolves to an address that no provider may have')
  }
}

/** Resolves as Node does, then refuses addresses that `forbids` names: what is checked is what is connected to. */
export function guardedLookup(forbids: (address: string) => boolean): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, options, (fault, address: string | LookupAddress[], family?: number) => {
      const addresses = typeof address === 'string' ? [address] : (address ?? []).map((entry) => entry.address)
      if (fault === null && addresses.some(forbids)) return callback(new ForbiddenAddressError(), address, family)
      callback(fault, address, family)
    })
  }
}

/** The host of a URL without the brackets of an IPv6 address. One written as an address never passes through a lookup. */
export function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, '')
}

/**
 * True for unspecified, link-local, multicast and known cloud-metadata addresses, also when written as IPv4 in IPv6. Asked
 * again with what a name resolved to, since a name can point anywhere.
 */
export function isForbiddenAddress(address: string): boolean {
  const v4 = isIP(address) === 4 ? address : mappedV4(address)
  if (v4 !== null) {
    const [a = 0, b = 0] = v4.split('.').map(Number)
    return a === 0 || (a === 169 && b === 254) || a >= 224 || v4 === '100.100.100.200'
  }
  const v6 = address.toLowerCase()
  return v6 === '::' || /^fe[89ab]/.test(v6) || v6.startsWith('ff') || v6 === 'fd00:ec2::254'
}

/** True for loopback and private networks, where an installation that serves strangers must not let them knock. */
export function isPrivateAddress(address: string): boolean {
  const v4 = isIP(address) === 4 ? address : mappedV4(address)
  if (v4 === null) return address === '::1' || /^f[cd]/i.test(address)
  const [a = 0, b = 0] = v4.split('.').map(Number)
  return (
    a === 10 ||
    a === 127 ||
    (a === 172 && b >= 16 && b < 32) ||
    (a === 192 && b === 168) ||
    (a === 100 && b >= 64 && b < 128)
  )
}

/** The IPv4 address inside `::ffff:a.b.c.d` or `::ffff:hhhh:hhhh`, else null. */
function mappedV4(address: string): string | null {
  const dotted = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (dotted?.[1] !== undefined) return dotted[1]
  const hex = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(address)
  if (hex?.[1] === undefined || hex[2] === undefined) return null
  const high = Number.parseInt(hex[1], 16)
  const low = Number.parseInt(hex[2], 16)
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
}
