import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { testRedis } from './redis.js'

test('what was acknowledged survives a kill, on the same port', async () => {
  const server = await testRedis()
  try {
    const client = new Redis(server.url, { maxRetriesPerRequest: null, retryStrategy: () => 50 })
    client.on('error', () => {})
    await client.set('a', '1')
    expect(await client.info('server')).toMatch(/redis_version:7\./)
    const first = server.pid
    await server.kill()
    await server.restart()
    expect(server.pid).not.toBe(first)
    expect(await client.get('a')).toBe('1')
    client.disconnect()
  } finally {
    await server.stop()
  }
})
