import { X509Certificate } from 'node:crypto'
import grpc from '@grpc/grpc-js'
import { makeCertificateRequest } from '../../agent/src/config/certificate-request.js'
import { CertificateAuthority } from '../../control-plane/src/fleet/certificate-authority.js'
import { reportMessageCodec, reportReplyCodec } from '../../proto/gen/codec.js'
import type { ReportMessage__Output } from '../../proto/gen/switchyard/v1/ReportMessage.js'
import type { ReportReply } from '../../proto/gen/switchyard/v1/ReportReply.js'
import { systemClock } from '../../proto/std/clock.js'
import { isRefusal } from '../../proto/std/refusal.js'
import { type ReportTls, serveChild } from './agent-child.js'

/**
 * Takes an agent's reports over mutual TLS and says soon after that they are stored: what a quick control plane is to the
 * agent, without a database that would take the cores from what is measured.
 */
const storingMs = 25
let recordCount = 0

const material = await CertificateAuthority.make('ins_bench', systemClock)
const authority = await CertificateAuthority.open(material, systemClock)
const serverCertificate = await authority.issueServerCertificate(['localhost'])
const request = await makeCertificateRequest()
const agentCertificate = await authority.issueAgentCertificate(request.csrDer, {
  clusterId: 'clu_bench',
  agentId: 'agt_bench',
})
if (isRefusal(agentCertificate)) throw new Error(agentCertificate.message)

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
const credentials = grpc.ServerCredentials.createSsl(
  Buffer.from(authority.certificatePem),
  [{ cert_chain: Buffer.from(serverCertificate.chainPem), private_key: Buffer.from(serverCertificate.privateKeyPem) }],
  true,
)
const port = await new Promise<number>((resolve, reject) => {
  server.bindAsync('localhost:0', credentials, (fault, bound) => (fault ? reject(fault) : resolve(bound)))
})
const tls: ReportTls = {
  ca: authority.certificatePem,
  key: String(request.privateKey.export({ format: 'pem', type: 'pkcs8' })),
  cert: agentCertificate.chainDer.map((der) => String(new X509Certificate(der))).join(''),
}
serveChild({ url: `localhost:${port}`, reportTls: tls }, () => ({ records: recordCount }))

function classOf(name: string): 1 | 2 {
  return name === 'SPANS' ? 2 : 1
}
