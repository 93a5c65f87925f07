import grpc from '@grpc/grpc-js'
import { reportMessageCodec, reportReplyCodec } from '../../proto/gen/codec.js'
import type { ReportMessage__Output } from '../../proto/gen/switchyard/v1/ReportMessage.js'
import type { ReportReply } from '../../proto/gen/switchyard/v1/ReportReply.js'

/**
 * Takes an agent's reports and says soon after that they are stored: what a quick control plane is to the agent, without a
 * database that would take the cores from what is measured.
 */
const storingMs = 25

export async function openReportSink(): Promise<{ readonly address: string; recordCount(): number }> {
  let recordCount = 0
  const server = new grpc.Server()
  server.addService(
    {
      Report: {
        path: '/switchyard.v1.ReportService/Report',
        requestStream: true,
        responseStream: true,
        requestSerialize: () => Buffer.alloc(0),
        requestDeserialize: (bytes: Buffer) => reportMessageCodec.decode(bytes),
        responseSerialize: (reply: ReportReply) => Buffer.from(reportReplyCodec.encode(reply)),
        responseDeserialize: () => ({}),
      },
    },
    {
      Report: (call: grpc.ServerDuplexStream<ReportMessage__Output, ReportReply>) => {
        call.on('error', () => {})
        call.on('end', () => call.end())
        call.on('data', ({ hello, batch }: ReportMessage__Output) => {
          for (const lane of hello?.lanes ?? [])
            call.write({ stored: { lane: { ...lane, class: classOf(lane.class) }, nextSequence: 0 } })
          if (hello) for (const of of [1, 2] as const) call.write({ credit: { class: of, bytes: 64 << 20 } })
          if (!batch?.lane) return
          const { lane, records } = batch
          const bytes = records.reduce((sum, record) => sum + record.payload.length, 0)
          const next = (records.at(-1)?.sequence ?? -1) + 1
          if (lane.class === 'USAGE') recordCount += records.length
          setTimeout(() => {
            call.write({ stored: { lane: { ...lane, class: classOf(lane.class) }, nextSequence: next } })
            call.write({ credit: { class: classOf(lane.class), bytes } })
          }, storingMs)
        })
      },
    },
  )
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (fault, bound) =>
      fault ? reject(fault) : resolve(bound),
    )
  })
  return { address: `127.0.0.1:${port}`, recordCount: () => recordCount }
}

function classOf(name: string): 1 | 2 {
  return name === 'SPANS' ? 2 : 1
}
