import { expect, test } from 'vitest'
import {
  ForbiddenAddressError,
  guardedLookup,
  hostOf,
  isForbiddenAddress,
  isPrivateAddress,
} from './upstream-address.js'

test('addresses that serve the credentials of machines are forbidden however they are written', () => {
  for (const address of ['169.254.169.254', '::ffff:169.254.169.254', '::ffff:a9fe:a9fe', 'fe80::1', '0.0.0.0', '::']) {
    expect([address, isForbiddenAddress(address)]).toEqual([address, true])
  }
  expect(hostOf('http://[fe80::1]:80/v1')).toBe('fe80::1')
})

test('a name is refused for what it resolves to', async () => {
  const resolve = (forbids: (address: string) => boolean) =>
    new Promise((settle) => guardedLookup(forbids)('localhost', { all: true }, (fault) => settle(fault)))
  expect(await resolve(() => true)).toBeInstanceOf(ForbiddenAddressError)
  expect(await resolve(isForbiddenAddress)).toBeNull()
})

test('private networks are private, and only they', () => {
  for (const address of [
    '127.0.0.1',
    '10.0.0.1',
    '172.16.0.1',
    '172.31.9.9',
    '192.168.1.1',
    '100.64.0.1',
    '::1',
    'fd12::1',
  ]) {
    expect([address, isPrivateAddress(address), isForbiddenAddress(address)]).toEqual([address, true, false])
  }
  for (const address of ['8.8.8.8', '172.32.0.1', '100.63.0.1', '2606:4700::1111', '::ffff:8.8.8.8']) {
    expect([address, isPrivateAddress(address), isForbiddenAddress(address)]).toEqual([address, false, false])
  }
})
