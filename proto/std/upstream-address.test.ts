import { expect, test } from 'vitest'
import {
  ForbiddenAddressError,
  guardedLookup,
  hostOf,
  isForbiddenAddress,
  isPrivateAddress,
} from './upstream-address.js'

test.each([
  ...['169.254.169.254', '0.0.0.0', '224.0.0.1', '255.255.255.255', '100.100.100.200', '168.63.129.16', '192.0.0.192'],
  ...['::', 'fe80::1', 'febf::1', 'fe80::1%eth0', 'ff02::1', 'fd00:ec2::254', 'fd20:ce::254'],
  ...['::ffff:169.254.169.254', '::ffff:a9fe:a9fe', '0:0:0:0:0:ffff:a9fe:a9fe', '::a9fe:a9fe', '::169.254.169.254'],
  ...['::ffff:0:a9fe:a9fe', '64:ff9b::a9fe:a9fe', '64:ff9b::169.254.169.254', '2002:a9fe:a9fe::1'],
])('%s may not be called', (address) => {
  expect(isForbiddenAddress(address)).toBe(true)
})

test('a name is not an address, whatever letters it begins with', () => {
  for (const name of [
    'fe80.example',
    'fea-llm.example',
    'features.example.com',
    'ffm.internal',
    'fc-llm',
    'fd.internal',
  ]) {
    expect([name, isForbiddenAddress(name), isPrivateAddress(name)]).toEqual([name, false, false])
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
    '::ffff:10.0.0.1',
    '64:ff9b::7f00:1',
  ]) {
    expect([address, isPrivateAddress(address), isForbiddenAddress(address)]).toEqual([address, true, false])
  }
  for (const address of ['8.8.8.8', '172.32.0.1', '100.63.0.1', '2606:4700::1111', '::ffff:8.8.8.8']) {
    expect([address, isPrivateAddress(address), isForbiddenAddress(address)]).toEqual([address, false, false])
  }
})
