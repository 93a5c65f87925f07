import { isIP } from 'node:net'
import { type Refusal, refuse } from '../../../proto/std/refusal.js'
import { isForbiddenAddress } from '../../../proto/std/upstream-address.js'

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
