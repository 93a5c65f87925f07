import { expect, it } from 'vitest'
import type { CredentialReport } from './messages.js'
import { ToldCredentials } from './told-credentials.js'

function make() {
  const reports: string[] = []
  const credentials = new ToldCredentials(({ credentialId, version, rejected }: CredentialReport) => {
    reports.push(`${credentialId}@${version} ${rejected ? 'rejected' : 'accepted'}`)
  })
  credentials.take([['crd', 1, 'secret']])
  return { credentials, reports }
}

it('has what it was told, by version, until it is told that it is gone', () => {
  const { credentials } = make()
  credentials.take([['crd', 2, { ambient: 'aws' }]])
  expect([1, 2, 3].map((version) => credentials.get('crd', version))).toEqual(['secret', { ambient: 'aws' }, null])
  credentials.take([['crd', 1, null]])
  expect(credentials.get('crd', 1)).toBeNull()
})

it('says once that one is rejected and once that it is accepted again, however many requests see it', () => {
  const { credentials, reports } = make()
  for (let i = 0; i < 5; i++) credentials.reportRejected('crd', 1)
  for (let i = 0; i < 5; i++) credentials.reportAccepted('crd', 1)
  expect(reports).toEqual(['crd@1 rejected', 'crd@1 accepted'])
})

it('says that one is accepted which another worker saw rejected, and not what that one said already', () => {
  const { credentials, reports } = make()
  credentials.learn({ credentialId: 'crd', version: 1, rejected: true })
  credentials.reportRejected('crd', 1)
  expect(reports).toEqual([])
  credentials.reportAccepted('crd', 1)
  expect(reports).toEqual(['crd@1 accepted'])
  credentials.reportRejected('crd', 1)
  credentials.learn({ credentialId: 'crd', version: 1, rejected: false })
  credentials.reportAccepted('crd', 1)
  expect(reports).toEqual(['crd@1 accepted', 'crd@1 rejected'])
})

it('takes a new value for one that nobody rejected, and says nothing of what it does not have', () => {
  const { credentials, reports } = make()
  credentials.reportRejected('crd', 1)
  credentials.take([['crd', 1, 'other']])
  credentials.reportAccepted('crd', 1)
  credentials.reportRejected('crd', 9)
  expect(reports).toEqual(['crd@1 rejected'])
})
