import { expect, test } from 'vitest'
import { VirtualClock } from '../../../proto/std/clock.js'
import { Deadlines } from '../../../proto/std/deadlines.js'
import { makeTarget } from '../../../test/harness/agent-door.js'
import { FakeCall } from '../../../test/harness/virtual-agent.js'
import type { StreamReader } from '../providers/provider-dialect.js'
import { TargetCall } from './call-target.js'

/** Passes on what it is given, and throws at a word of its test. */
class ThrowingReader implements StreamReader {
  readonly contentType = 'text/event-stream'
  started = false
  readonly done = false
  finished = false
  readonly tail = null
  readonly error = null
  readonly malformed = false
  readonly usage = null
  readonly model = null

  push(chunk: Buffer): Buffer {
    if (chunk.toString() === 'throw') throw new RangeError('Maximum call stack size exceeded')
    this.started = true
    this.finished = true
    return chunk
  }

  end(): Buffer | null {
    throw new RangeError('Maximum call stack size exceeded')
  }

  deliveredText(): string {
    return ''
  }
}

async function run(does: (upstream: FakeCall) => void) {
  const clock = new VirtualClock()
  let written = ''
  let inFlight = 0
  const call = new TargetCall({
    dispatcher: {
      dispatch: (options, handler) => {
        does(new FakeCall('a', options, handler).connect().stream())
        return true
      },
    },
    ...{ target: makeTarget({ origin: 'https://x' }), path: '/', headers: [], body: Buffer.from('{}') },
    reader: new ThrowingReader(),
    sink: {
      begin: () => {},
      onDrain: () => {},
      write: (bytes) => {
        written += bytes
        return true
      },
    },
    occupancy: { enter: () => (inFlight += 1), leave: () => (inFlight -= 1) },
    ...{ clock, deadlines: new Deadlines(clock), startedUs: 0, dueUs: 10_000_000 },
    ...{ answerBytesMax: 1024, clientStallMs: 1_000 },
  })
  await call.run()
  return { outcome: call.outcome, committed: call.committed, fault: call.fault?.name, written, inFlight }
}

test.each<[string, (upstream: FakeCall) => void, boolean, string]>([
  ['the first bytes of a stream', (upstream) => void upstream.data('throw'), false, ''],
  ['later bytes', (upstream) => void upstream.data('a').data('throw').data('b'), true, 'a'],
  ['its end', (upstream) => upstream.data('a').end(), true, 'a'],
])(
  'a reader that cannot read %s makes the hop malformed, and nothing else',
  async (_what, does, committed, written) => {
    expect(await run(does)).toEqual({ outcome: 'malformed', committed, fault: 'RangeError', written, inFlight: 0 })
  },
)
