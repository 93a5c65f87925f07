import { describe, expect, test } from 'vitest'
import { readStsCredentials, readStsError } from './sts-answer.js'

const credentials = (inner: string) =>
  `<?xml version="1.0"?>\n<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult><Credentials>${inner}</Credentials><Audience/></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>`
const four =
  '<AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s/+=</SecretAccessKey><SessionToken>t//==</SessionToken><Expiration>2026-01-01T01:00:00Z</Expiration>'
const whole = credentials(four)

describe('an answer of STS', () => {
  test('holds the keys, and until when', () => {
    expect(readStsCredentials(whole)).toEqual({
      ...{ accessKeyId: 'ASIA1', secretAccessKey: 's/+=', sessionToken: 't//==' },
      expiresAtMs: Date.UTC(2026, 0, 1, 1),
    })
  })

  test('may escape what it says', () => {
    expect(readStsCredentials(whole.replace('s/+=', 'a&amp;b&lt;&gt;&quot;&apos;'))?.secretAccessKey).toBe('a&b<>"\'')
  })

  test('cut anywhere holds none', () => {
    for (let at = 0; at < whole.length; at++) expect(readStsCredentials(whole.slice(0, at))).toBeNull()
  })

  const broken: [string, string][] = [
    ['nothing', ''],
    ['no XML', '{"AccessKeyId":"ASIA1"}'],
    ['a member missing', credentials(four.replace(/<SessionToken>.*<\/SessionToken>/, ''))],
    ['a member twice', credentials(`${four}<AccessKeyId>ASIA2</AccessKeyId>`)],
    ['a member empty', whole.replace('ASIA1', '')],
    ['a member with a space', whole.replace('ASIA1', 'AS IA1')],
    ['a date that is none', whole.replace('2026-01-01T01:00:00Z', 'tomorrow')],
    ['a date without its zone', whole.replace('01:00:00Z', '01:00:00')],
    ['elements crossed', credentials('<AccessKeyId>ASIA1<SecretAccessKey></AccessKeyId></SecretAccessKey>')],
    ['text beside elements', credentials(`x${four}`)],
    ['a comment', credentials(`<!-- -->${four}`)],
    ['a marked section', whole.replace('ASIA1', '<![CDATA[ASIA1]]>')],
    ['a declaration of types', whole.replace('<?xml version="1.0"?>', '<!DOCTYPE x [<!ENTITY a "b">]>')],
    ['an entity of its own', whole.replace('ASIA1', '&a;')],
    ['a bare ampersand', whole.replace('ASIA1', 'A&B')],
    ['two roots', `${whole}<a/>`],
    ['another answer', whole.replaceAll('AssumeRoleWithWebIdentity', 'AssumeRole')],
    ['too deep', `${'<a>'.repeat(9)}${'</a>'.repeat(9)}`],
  ]
  test.each(broken)('with %s holds none', (_name, xml) => {
    expect(readStsCredentials(xml)).toBeNull()
  })

  test('that is an error tells its code', () => {
    const xml =
      '<ErrorResponse xmlns="x"><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code><Message>No &quot;kid&quot;.</Message></Error><RequestId>r</RequestId></ErrorResponse>'
    expect(readStsError(xml)).toEqual({ code: 'InvalidIdentityToken', message: 'No "kid".' })
    expect(readStsCredentials(xml)).toBeNull()
    expect(readStsError(whole)).toBeNull()
    expect(readStsError('<html>502</html>')).toBeNull()
  })
})
