import { type LookupAddress, lookup } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'

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

type Subnet = readonly [address: string, prefixBits: number]

const forbidden = listOf(
  [
    ['0.0.0.0', 8],
    ['169.254.0.0', 16],
    ['224.0.0.0', 3],
    // Where Alibaba, Azure and Oracle serve credentials to machines.
    ['100.100.100.200', 32],
    ['168.63.129.16', 32],
    ['192.0.0.192', 32],
  ],
  [
    ['::', 128],
    ['fe80::', 10],
    ['ff00::', 8],
    // Where Amazon and Google do.
    ['fd00:ec2::254', 128],
    ['fd20:ce::254', 128],
  ],
)

const privateNets = listOf(
  [
    ['10.0.0.0', 8],
    ['127.0.0.0', 8],
    ['172.16.0.0', 12],
    ['192.168.0.0', 16],
    ['100.64.0.0', 10],
  ],
  [
    ['::1', 128],
    ['fc00::', 7],
  ],
)

function listOf(v4: readonly Subnet[], v6: readonly Subnet[]): BlockList {
  const list = new BlockList()
  for (const [address, prefixBits] of v4) list.addSubnet(address, prefixBits, 'ipv4')
  for (const [address, prefixBits] of v6) list.addSubnet(address, prefixBits, 'ipv6')
  return list
}

/**
 * True for unspecified, link-local, multicast and known cloud-metadata addresses, also where an IPv6 address carries one
 * (mapped, compatible, translated, NAT64, 6to4). False for a name: it is asked about by what it resolves to.
 */
export function isForbiddenAddress(address: string): boolean {
  return isIn(forbidden, address)
}

/** True for loopback and private networks, where an installation that serves strangers must not let them knock. */
export function isPrivateAddress(address: string): boolean {
  return isIn(privateNets, address)
}

function isIn(list: BlockList, text: string): boolean {
  const address = text.replace(/%.*$/, '')
  const family = isIP(address)
  if (family === 0) return false
  if (family === 4) return list.check(address, 'ipv4')
  if (list.check(address, 'ipv6')) return true
  const carried = carriedV4(groupsOf(address))
  return carried !== null && list.check(carried, 'ipv4')
}

/** The IPv4 address that an IPv6 address carries by its form, or null (RFC 4291, 6052, 3056, 2765). */
function carriedV4(groups: readonly number[]): string | null {
  const starts = (...wanted: number[]) => wanted.every((group, index) => groups[index] === group)
  const dotted = (at: number) => {
    const [high = 0, low = 0] = groups.slice(at)
    return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
  }
  if (starts(0x2002)) return dotted(1)
  const isCarrier =
    starts(0, 0, 0, 0, 0, 0xffff) ||
    starts(0, 0, 0, 0, 0xffff, 0) ||
    starts(0x64, 0xff9b, 0, 0, 0, 0) ||
    // Compatible; but for the unspecified address and loopback, which begin so too.
    (starts(0, 0, 0, 0, 0, 0) && groups[6] !== 0)
  return isCarrier ? dotted(6) : null
}

/** The eight groups of a valid IPv6 address. */
function groupsOf(address: string): number[] {
  const hex = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, a, b, c, d) => {
    const group = (high: string, low: string) => (Number(high) * 256 + Number(low)).toString(16)
    return `${group(a, b)}:${group(c, d)}`
  })
  const [left = '', right] = hex.split('::')
  const numbers = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)))
  const [head, tail] = [numbers(left), numbers(right ?? '')]
  return [...head, ...new Array<number>(right === undefined ? 0 : 8 - head.length - tail.length).fill(0), ...tail]
}
