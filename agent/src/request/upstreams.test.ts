import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../../proto/std/clock.js'
import { ForbiddenAddressError } from '../../../proto/std/upstream-address.js'
import { makeTarget } from '../../../test/harness/agent-door.js'
import { Upstreams } from './upstreams.js'

const upstreams = new Upstreams(systemClock)
afterEach(() => upstreams.stop())

function call(origin: string): Promise<number> {
  const { pool } = upstreams.of(makeTarget({ origin }).provider)
  return pool.request({ method: 'GET', path: '/' }).then(({ statusCode }) => statusCode)
}

describe('a connection to an upstream', () => {
  test.each(['http://169.254.169.254', 'http://[::ffff:169.254.169.254]', 'http://[fe80::1]', 'http://0.0.0.0'])(
    'is never made to %s',
    async (origin) => {
      await expect(call(origin)).rejects.toBeInstanceOf(ForbiddenAddressError)
    },
  )

  test('is made to a name that resolves to an address that a provider may have', async () => {
    const server = createServer((_request, response) => void response.end())
    await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
    expect(await call(`http://localhost:${(server.address() as AddressInfo).port}`)).toBe(200)
    server.close()
  })
})
