import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import type { DoorLimits } from '../server/http-server.js'
import { boundConnections, DoorLimitsLeft } from './door-limits-left.js'

const limits: DoorLimits = {
  ...{ connectionsMax: 3, inFlightMax: 10, bodyBytesMax: 5, headerBytesMax: 6, requestTimeoutMs: 7, idleTimeoutMs: 8 },
}

it('leaves of the requests what the others do not have, as it is told, and of the rest everything', () => {
  const others = { connections: 0, inFlight: 0 }
  const left = new DoorLimitsLeft(limits, others)
  expect(left.inFlightMax).toBe(10)
  others.inFlight = 4
  expect(left.inFlightMax).toBe(6)
  others.inFlight = 99
  expect(left.inFlightMax).toBe(0)
  expect(left).toMatchObject({ bodyBytesMax: 5, headerBytesMax: 6, requestTimeoutMs: 7, idleTimeoutMs: 8 })
})

it('closes connections beyond the limit of the agent, others counted, as they come; none after it was stopped', async () => {
  const others = { connections: 1, inFlight: 0 }
  let own = 0
  let dropCount = 0
  const server = net.createServer((socket) => {
    own += 1
    socket.on('error', () => {})
    socket.once('close', () => {
      own -= 1
    })
    setImmediate(() => socket.destroyed || socket.write('hello'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const release = boundConnections({
    ...{ connectionsMax: limits.connectionsMax, others },
    own: () => own,
    onDrop: () => {
      dropCount += 1
    },
  })
  const connect = async () => {
    const socket = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
    socket.on('error', () => {})
    const isTaken = await Promise.race([once(socket, 'data').then(() => true), once(socket, 'close').then(() => false)])
    return { socket, isTaken }
  }
  const first = await connect()
  const second = await connect()
  const third = await connect()
  expect([first.isTaken, second.isTaken, third.isTaken, dropCount]).toEqual([true, true, false, 1])
  others.connections = 0
  const fourth = await connect()
  expect(fourth.isTaken).toBe(true)
  release()
  const fifth = await connect()
  expect([fifth.isTaken, dropCount]).toEqual([true, 1])
  for (const { socket } of [first, second, fourth, fifth]) socket.destroy()
  server.close()
})
