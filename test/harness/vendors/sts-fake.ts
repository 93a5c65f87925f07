import type { ServerResponse } from 'node:http'
import type { AwsAmbient } from '../../../agent/src/providers/ambient.js'
import { systemClock } from '../../../proto/std/clock.js'
import type { BedrockFake } from './bedrock-fake.js'
import { type VendorAnswer, VendorFake, type VendorFault, type VendorRequest } from './vendor-fake.js'

/**
 * AWS's Security Token Service, as far as workloads with a web identity ask it. What it gives out, the Bedrock beside it
 * takes. Source: AWS's Security Token Service API reference, "AssumeRoleWithWebIdentity"; shapes as recorded from it.
 */
export class StsFake extends VendorFake {
  readonly kind = 'sts'
  readonly basePath = ''
  readonly roleArn = 'arn:aws:iam::123456789012:role/agents/switchyard'
  /** With characters that a form and XML have to escape. */
  readonly webIdentityToken = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZ2VudCJ9.c2ln+/=&x'
  /** Lifetime of the keys to come. */
  expiresInMs = 3_600_000
  nowMs = () => systemClock.nowMs()
  #count = 0

  constructor(readonly bedrock: BedrockFake) {
    super()
  }

  /** What the agent's settings say of a machine that finds everything here; with a slash, as platforms set it. */
  ambient(webIdentityTokenFile: string): AwsAmbient {
    return {
      ...{ accessKeyId: '', secretAccessKey: '', sessionToken: '' },
      ...{
        webIdentityTokenFile,
        roleArn: this.roleArn,
        roleSessionName: 'switchyard-agent',
        stsEndpoint: `${this.origin}/`,
      },
    }
  }

  protected verify({ method, path, headers, bytes }: VendorRequest): readonly string[] {
    const problems: string[] = []
    if (method !== 'POST' || path !== '/') problems.push(`${method} ${path} is not found.`)
    if (headers['content-type'] !== 'application/x-www-form-urlencoded') problems.push('content-type has to be a form.')
    if (headers['authorization'] !== undefined) problems.push('authorization does not belong here.')
    const { Action, Version, RoleArn, RoleSessionName, WebIdentityToken, ...other } = Object.fromEntries(
      new URLSearchParams(bytes.toString()),
    )
    if (Action !== 'AssumeRoleWithWebIdentity' || Version !== '2011-06-15') problems.push(`${Action} ${Version}.`)
    if (RoleArn !== this.roleArn) problems.push(`RoleArn is ${RoleArn}.`)
    if (!/^[\w+=,.@-]{2,64}$/.test(RoleSessionName ?? '')) problems.push(`RoleSessionName is ${RoleSessionName}.`)
    if (WebIdentityToken !== this.webIdentityToken) problems.push(`WebIdentityToken is ${WebIdentityToken}.`)
    return [...problems, ...Object.keys(other).map((name) => `${name} is not known.`)]
  }

  protected async answer(_request: VendorRequest, _script: VendorAnswer, response: ServerResponse): Promise<void> {
    this.#count += 1
    const accessKeyId = `ASIAFAKE${String(this.#count).padStart(12, '0')}`
    const secretAccessKey = `temporary/secret+${this.#count}`
    const sessionToken = `session//token+${this.#count}==`
    this.bedrock.keys.set(accessKeyId, { secretAccessKey, sessionToken })
    writeXml(
      response,
      200,
      `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <Audience>sts.amazonaws.com</Audience>
    <AssumedRoleUser>
      <AssumedRoleId>AROAFAKE:switchyard-agent</AssumedRoleId>
      <Arn>arn:aws:sts::123456789012:assumed-role/switchyard/switchyard-agent</Arn>
    </AssumedRoleUser>
    <Provider>arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/A&amp;B</Provider>
    <Credentials>
      <AccessKeyId>${accessKeyId}</AccessKeyId>
      <SecretAccessKey>${secretAccessKey}</SecretAccessKey>
      <SessionToken>${sessionToken}</SessionToken>
      <Expiration>${new Date(this.nowMs() + this.expiresInMs).toISOString().replace(/\.\d+/, '')}</Expiration>
    </Credentials>
    <SubjectFromWebIdentityToken>system:serviceaccount:switchyard:agent</SubjectFromWebIdentityToken>
  </AssumeRoleWithWebIdentityResult>
  <ResponseMetadata>
    <RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId>
  </ResponseMetadata>
</AssumeRoleWithWebIdentityResponse>
`,
    )
  }

  protected fault({ status, message }: VendorFault, response: ServerResponse): void {
    const [code = 'InternalFailure', ...words] = message.split(': ')
    writeXml(
      response,
      status,
      `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <Error>
    <Type>Sender</Type>
    <Code>${code}</Code>
    <Message>${words.join(': ')}</Message>
  </Error>
  <RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId>
</ErrorResponse>
`,
    )
  }
}

function writeXml(response: ServerResponse, status: number, xml: string): void {
  response.writeHead(status, { 'content-type': 'text/xml', 'content-length': Buffer.byteLength(xml) })
  response.end(xml)
}
