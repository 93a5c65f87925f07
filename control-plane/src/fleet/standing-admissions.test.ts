import { expect, test } from 'vitest'
import { VirtualClock } from '../../../proto/std/clock.js'
import { type Refusal, refuse } from '../../../proto/std/refusal.js'
import type { Peer } from './peer.js'
import type { EndCall } from './peer-gate.js'
import { StandingAdmissions } from './standing-admissions.js'

const peer: Peer = {
  ...{ installationId: 'ins', clusterId: 'clu', agentId: 'agt', serial: '01' },
  certificateNotAfterMs: Number.MAX_SAFE_INTEGER,
}
const revoked = refuse('unauthenticated', 'revoked')

function makeGate() {
  const gate = {
    askedCount: 0,
    answer: null as Refusal | null | Error,
    ends: new Set<EndCall>(),
    async admit() {
      gate.askedCount += 1
      if (gate.answer instanceof Error) throw gate.answer
      return gate.answer
    },
    enter(_peer: Peer, end: EndCall) {
      gate.ends.add(end)
      return () => void gate.ends.delete(end)
    },
  }
  return gate
}

test('an agent passes the gate once for all its calls, those that come together too', async () => {
  const [gate, clock] = [makeGate(), new VirtualClock()]
  const admissions = new StandingAdmissions(gate, clock)
  expect(await Promise.all([admissions.admit(peer), admissions.admit(peer)])).toEqual([null, null])
  await admissions.admit(peer)
  expect([gate.askedCount, gate.ends.size]).toEqual([1, 1])
  await admissions.admit({ ...peer, agentId: 'another' })
  expect(gate.askedCount).toBe(2)
})

test('once the gate ends it, the next call asks again, and is refused', async () => {
  const [gate, clock] = [makeGate(), new VirtualClock()]
  const admissions = new StandingAdmissions(gate, clock)
  await admissions.admit(peer)
  gate.answer = revoked
  for (const end of gate.ends) end(revoked)
  expect(await admissions.admit(peer)).toBe(revoked)
})

test('a refusal and a fault do not stand', async () => {
  const [gate, clock] = [makeGate(), new VirtualClock()]
  const admissions = new StandingAdmissions(gate, clock)
  gate.answer = revoked
  expect(await admissions.admit(peer)).toBe(revoked)
  gate.answer = new Error('away')
  await expect(admissions.admit(peer)).rejects.toThrow('away')
  gate.answer = null
  expect(await admissions.admit(peer)).toBeNull()
})

test('a minute without calls ends it; calls keep it', async () => {
  const [gate, clock] = [makeGate(), new VirtualClock()]
  const admissions = new StandingAdmissions(gate, clock)
  await admissions.admit(peer)
  await clock.advance(50_000)
  await admissions.admit(peer)
  await clock.advance(50_000)
  expect(gate.ends.size).toBe(1)
  await clock.advance(10_001)
  expect(gate.ends.size).toBe(0)
  await admissions.admit(peer)
  expect(gate.askedCount).toBe(2)
  admissions.end()
  expect(gate.ends.size).toBe(0)
})
