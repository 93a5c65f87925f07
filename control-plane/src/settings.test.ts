import { describe, expect, test } from 'vitest'
import { describeAllSettings, loadSettings, settingsTable } from './settings.js'

const wrapKey = `k1:${Buffer.alloc(32, 7).toString('base64')}`
const least = { DATABASE_URL: 'postgresql://localhost/db', SWITCHYARD_WRAP_KEYS: wrapKey }

function faultOf(environment: Record<string, string>): string {
  try {
    loadSettings(environment)
  } catch (error) {
    return error instanceof Error ? error.message : ''
  }
  return ''
}

describe('settings of the control plane', () => {
  test('two are required, the rest has defaults', () => {
    expect(loadSettings(least)).toMatchObject({
      ...{ httpPort: 7400, metricsPort: 7401, fleetPort: 7402, enrolPort: 7403, redisUrl: null, adminToken: null },
      ...{ grpcNames: ['localhost', '127.0.0.1'], corsOrigins: ['https://studio.apollographql.com'] },
    })
    const fault = faultOf({})
    expect(fault).toContain('DATABASE_URL is required')
    expect(fault).toContain('SWITCHYARD_WRAP_KEYS is required')
  })

  test.each([
    ['SWITCHYARD_HTTP_PORT', '70000', 'an integer from 0 to 65535'],
    ['SWITCHYARD_LOG_LEVEL', 'loud', 'one of debug, info, warn, error'],
    ['SWITCHYARD_JWT_JWKS_URL', 'id.example.com', 'an http or https URL'],
    ['SWITCHYARD_CORS_ORIGINS', 'example.com', 'comma-separated origins'],
    ['SWITCHYARD_ADMIN_TOKEN', 'short', 'at least 32'],
    ['SWITCHYARD_TLS_CERT_FILE', '/tmp/cert.pem', 'belong together'],
    ['SWITCHYARD_WRAP_KEYS', `${wrapKey},${wrapKey}`, 'a key id twice: k1, k1'],
  ])('%s=%s is refused by its name', (variable, value, expected) => {
    const fault = faultOf({ ...least, [variable]: value })
    expect(fault).toContain(variable)
    expect(fault).toContain(expected)
  })

  test('a wrong secret is not shown', () => {
    const secret = 'supersecret:value'
    expect(faultOf({ ...least, SWITCHYARD_WRAP_KEYS: secret })).not.toContain('supersecret')
    expect(faultOf({ ...least, DATABASE_URL: secret })).not.toContain('supersecret')
  })

  test('help names every variable once, with a sentence', () => {
    const help = describeAllSettings()
    for (const { variable, sentence } of Object.values(settingsTable)) {
      expect(help.split('\n').filter((line) => line === variable)).toHaveLength(1)
      expect(help).toContain(sentence)
      expect(sentence).toMatch(/[.]$/)
    }
  })
})
