import { type Refusal, refuse } from '../../../proto/std/refusal.js'

const oldest = [6, 2] as const

/**
 * Whether a Redis is fit to carry the queues, from the text of its INFO (which managed ones answer where they forbid
 * CONFIG). A policy that evicts takes the locks first: workers then look healthy and consume nothing.
 */
export function checkRedis(info: string): Refusal<'redis_unfit'> | null {
  const fields = new Map(
    info.split(/\r?\n/).flatMap((line) => {
      const colon = line.indexOf(':')
      return colon > 0 ? [[line.slice(0, colon), line.slice(colon + 1).trim()] as const] : []
    }),
  )
  // Valkey says it is Redis 7.2 and names itself beside it.
  const version = fields.get('redis_version') ?? ''
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (!(major > oldest[0] || (major === oldest[0] && minor >= oldest[1]))) {
    return refuse('redis_unfit', `Redis ${version || 'of an unknown version'} is too old: 6.2 or newer is needed`)
  }
  const policy = fields.get('maxmemory_policy')
  if (policy !== undefined && policy !== 'noeviction') {
    return refuse(
      'redis_unfit',
      `Redis evicts keys (maxmemory-policy ${policy}), jobs among them: set maxmemory-policy to noeviction`,
    )
  }
  return null
}
