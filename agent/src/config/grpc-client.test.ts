import grpc from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AgentMessage__Output } from '../../../proto/gen/switchyard/v1/AgentMessage.js'
import type { ControlMessage } from '../../../proto/gen/switchyard/v1/ControlMessage.js'
import { systemClock } from '../../../proto/std/clock.js'
import { bidiStream, CallFault, channelOptions, loadContract } from './grpc-client.js'

type Call = grpc.ServerDuplexStream<AgentMessage__Output, ControlMessage>

const { FleetService } = loadContract()
const limits = { messageBytesMax: 1 << 20, keepaliveIntervalMs: 10_000, keepaliveTimeoutMs: 1_000 }
/** Far more than gRPC and the kernel keep between two ends. */
const manyBytes = 64 << 20
const big = 'x'.repeat(256 << 10)

let server: grpc.Server
let client: InstanceType<typeof FleetService>
let serve: (call: Call) => void

beforeEach(async () => {
  server = new grpc.Server()
  server.addService(FleetService.service, { Configure: (call: Call) => serve(call) })
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (fault, bound) =>
      fault ? reject(fault) : resolve(bound),
    ),
  )
  client = new FleetService(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), channelOptions(limits))
})
afterEach(() => {
  client.close()
  server.forceShutdown()
})

const faultOf = async (work: Promise<unknown>) => {
  const fault = await work.then(
    () => null,
    (caught) => caught,
  )
  return fault instanceof CallFault ? fault.code : fault
}

describe('a stream both ways', () => {
  it('gives messages one at a time, in order, and ends with the other side', async () => {
    serve = (call) => {
      for (const text of ['a', 'b', 'c']) call.write({ signingKeys: { keys: [{ keyId: text }] } })
      call.end()
    }
    const seen: (string | undefined)[] = []
    for await (const message of bidiStream(client.configure()).messages()) {
      seen.push(message.signingKeys?.keys[0]?.keyId)
    }
    expect(seen).toEqual(['a', 'b', 'c'])
  })

  it('holds the other side back while nobody reads', async () => {
    let accepted = 0
    serve = (call) => {
      const pump = () => {
        while (accepted < manyBytes) {
          accepted += big.length
          if (!call.write({ signingKeys: { keys: [{ keyId: big }] } })) return void call.once('drain', pump)
        }
      }
      pump()
    }
    const stream = bidiStream(client.configure())
    const messages = stream.messages()
    await messages.next()
    await systemClock.sleep(300)
    const heldAt = accepted
    expect(heldAt).toBeLessThan(manyBytes / 4)
    for (let count = 0; count < 60; count++) await messages.next()
    expect(accepted).toBeGreaterThan(heldAt)
    stream.cancel()
  })

  it('waits in send while the other side does not read, and goes on when it does', async () => {
    let call: Call | null = null
    serve = (opened) => {
      call = opened.pause()
      opened.sendMetadata(new grpc.Metadata())
    }
    const stream = bidiStream(client.configure())
    await stream.send({ hello: { agentVersion: 'first' } })
    await stream.answered
    let sent = 0
    const sending = (async () => {
      for (; sent < manyBytes; sent += big.length) await stream.send({ hello: { agentVersion: big } })
    })()
    await systemClock.sleep(300)
    const heldAt = sent
    expect(heldAt).toBeLessThan(manyBytes / 4)
    ;(call as Call | null)?.resume()
    await sending
    expect(sent).toBe(manyBytes)
    stream.cancel()
  })

  it('ends with the fault of the call, for the reader and for whoever waits in send', async () => {
    serve = (call) => call.emit('error', { code: grpc.status.PERMISSION_DENIED, details: 'not you' })
    const stream = bidiStream(client.configure())
    expect(await faultOf(stream.messages().next())).toBe('PERMISSION_DENIED')
    expect(await faultOf(stream.answered)).toBe('PERMISSION_DENIED')
    expect(await faultOf(stream.send({ hello: {} }))).toBe('PERMISSION_DENIED')
  })

  it('ends without a fault when it is cancelled here, and with ours when we fail it', async () => {
    serve = () => {}
    const cancelled = bidiStream(client.configure())
    const reading = cancelled.messages().next()
    cancelled.cancel()
    expect(await reading).toEqual({ done: true, value: undefined })
    const failed = bidiStream(client.configure())
    const failing = faultOf(failed.messages().next())
    failed.fail('no connection')
    expect(await failing).toBe('UNAVAILABLE')
  })

  it('closes the call when the reader turns away', async () => {
    const closed = new Promise<void>((resolve) => {
      serve = (call) => {
        call.on('cancelled', () => resolve())
        call.write({ lift: {} })
      }
    })
    for await (const _ of bidiStream(client.configure()).messages()) break
    await closed
  })

  it('that reaches nobody says so', async () => {
    const nobody = new FleetService('127.0.0.1:1', grpc.credentials.createInsecure(), channelOptions(limits))
    expect(await faultOf(bidiStream(nobody.configure()).messages().next())).toBe('UNAVAILABLE')
    nobody.close()
  })
})
