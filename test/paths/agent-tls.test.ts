import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import { request } from 'node:https'
import * as x509 from '@peculiar/x509'
import { expect, test } from 'vitest'
import { answerJson, chatAnswer, makeTables, makeTarget, openDoor, ScriptedUpstream } from '../harness/agent-door.js'

test('the client door serves TLS', async () => {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=agent.test',
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: 'agent.test' }])],
  })
  const cert = certificate.toString('pem')
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
  const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`

  const upstream = await new ScriptedUpstream((_received, response) => answerJson(response, 200, chatAnswer)).start()
  const { tables, apiKey } = makeTables({ routes: { fast: [makeTarget({ origin: upstream.origin })] } })
  const door = await openDoor({ tables, tls: { cert, key } })
  try {
    const body = JSON.stringify({ model: 'fast', messages: [{ role: 'user', content: 'hi' }] })
    const status = await new Promise((resolve, reject) => {
      const sent = request(
        {
          host: '127.0.0.1',
          port: door.port,
          servername: 'agent.test',
          ca: cert,
          method: 'POST',
          path: '/v1/chat/completions',
          headers: { authorization: `Bearer ${apiKey}` },
        },
        (response) => {
          response.resume()
          response.on('end', () => resolve(response.statusCode))
        },
      )
      sent.on('error', reject)
      sent.end(body)
    })
    expect(status).toBe(200)
  } finally {
    await door.stop()
    await upstream.stop()
  }
})
