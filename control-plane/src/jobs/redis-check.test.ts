import { expect, it } from 'vitest'
import { checkRedis } from './redis-check.js'

const info = (version: string, policy?: string) =>
  `# Server\r\nredis_version:${version}\r\nredis_mode:standalone\r\n# Memory\r\n${policy ? `maxmemory_policy:${policy}\r\n` : ''}`

it.each([
  ['7.0.15', 'noeviction', null],
  ['6.2.0', 'noeviction', null],
  ['7.2.4', undefined, null],
  ['6.0.16', 'noeviction', 'too old'],
  ['5.0.7', undefined, 'too old'],
  ['', 'noeviction', 'too old'],
  ['7.0.15', 'allkeys-lru', 'evicts'],
  ['7.0.15', 'volatile-lru', 'evicts'],
])('Redis %s with policy %s: %s', (version, policy, complaint) => {
  const refusal = checkRedis(info(version, policy))
  if (complaint === null) expect(refusal).toBeNull()
  else expect(refusal?.message).toContain(complaint)
})
