import { isIP } from 'node:net'
import { type Refusal, refuse } from '../../../proto/std/refusal.js'

/**
 * Where a provider lives. Tenants type these addresses and our own processes call them, so an address is a way to make us
 * speak to something the tenant cannot reach. Private networks are allowed, because a vLLM beside its agent *is* on one;
 * link-local addresses are not, because nothing serves models there and clouds serve their machine's credentials there.
 */
export const baseUrlCharactersMax = 512

/** The base URL as it is stored: scheme, host, port and path, without a trailing slash. */
export function parseBaseUrl(text: string): string | Refusal<'bad_input'> {
  const no = (message: string) => refuse('bad_input', message)
  const trimmed = text.trim()
  if (trimmed.length > baseUrlCharactersMax) return no(`expected at most ${baseUrlCharactersMax} characters`)
  const url = URL.canParse(trimmed) ? new URL(trimmed) : null
  if (url === null) return no('expected a URL such as https://api.openai.com/v1')
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return no('expected https:// or http:// at the beginning')
  if (url.username !== '' || url.password !== '') {
    return no('expected no user name or password: give the secret as the credential instead')
  }
  if (url.search !== '' || trimmed.includes('?')) return no('expected no query: only scheme, host, port and path')
  if (url.hash !== '' || trimmed.includes('#')) return no('expected no fragment: only scheme, host, port and path')
  const host = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')
  if (isForbiddenHost(host)) return no('link-local and cloud metadata addresses are refused: no provider lives there')
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}

/** Scheme, host and port: whoever holds the origin receives the credential. */
export function originOf(baseUrl: string): string {
  return new URL(baseUrl).origin
}

const forbiddenNames = new Set(['metadata', 'metadata.google.internal', 'instance-data', 'instance-data.ec2.internal'])

/** A name or address that serves machine credentials, or nothing. `host` as `URL` normalises it (`0xa9fea9fe` is dotted). */
function isForbiddenHost(host: string): boolean {
  return isIP(host) === 0 ? forbiddenNames.has(host.toLowerCase()) : isForbiddenAddress(host)
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
