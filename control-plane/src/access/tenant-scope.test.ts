import { expect, test } from 'vitest'
import type { Actor, Principal } from './principal.js'
import { tenantScope } from './tenant-scope.js'

function actor(tenantId: string | null): Actor {
  const principal: Principal = { subject: 'ada', kind: 'token', tenantId, roles: new Set() }
  return { principal, requestId: 'req_1' }
}

test('the tenant named counts, else the own one', () => {
  expect(tenantScope(actor('ten_a'), 'ten_b')).toBe('ten_b')
  expect(tenantScope(actor('ten_a'), null)).toBe('ten_a')
})

test('who has none is told the name of the argument', () => {
  expect(() => tenantScope(actor(null), null)).toThrow(
    'your token belongs to no tenant: say in tenantId which one is meant',
  )
})
