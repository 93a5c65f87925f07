import { describe, expect, it } from 'vitest'
import { describeAgentSettings, readAgentSettings, settingsTable } from './settings.js'

const least = { SWITCHYARD_CONTROL_PLANE: 'localhost:7402' }
const cacheSecret = Buffer.alloc(32, 1).toString('base64')
const sharing = { SWITCHYARD_AGENT_CACHE_STORE: 'control-plane', SWITCHYARD_AGENT_CACHE_SECRET: cacheSecret }

describe('the settings', () => {
  it('need only the control plane', () => {
    expect(readAgentSettings(least)).toMatchObject({ port: 7404, metricsPort: 7405, enrol: null, joinToken: null })
  })

  it.each<[string, Record<string, string>, string]>([
    ['no control plane', { SWITCHYARD_CONTROL_PLANE: '' }, 'SWITCHYARD_CONTROL_PLANE is required'],
    [
      'a port that is none',
      { SWITCHYARD_AGENT_PORT: '80808' },
      'SWITCHYARD_AGENT_PORT is "80808": expected an integer',
    ],
    [
      'a token without its port',
      { SWITCHYARD_JOIN_TOKEN: `sjt_a.${'b'.repeat(43)}.${'c'.repeat(43)}` },
      'SWITCHYARD_ENROL',
    ],
    ['half of a certificate', { SWITCHYARD_AGENT_TLS_CERT_FILE: '/c.pem' }, 'set together'],
    [
      'a wait longer than the longest',
      { SWITCHYARD_AGENT_RECONNECT_MIN_MS: '20000' },
      'at most SWITCHYARD_AGENT_RECONNECT_MAX_MS',
    ],
    [
      'a spool of one segment',
      { SWITCHYARD_AGENT_SPOOL_BYTES_MAX: '20000000' },
      'SWITCHYARD_AGENT_SPOOL_SEGMENT_BYTES',
    ],
    ['spans that not every worker can have', { SWITCHYARD_WORKERS: '16' }, 'for each of SWITCHYARD_WORKERS'],
    [
      'workers without a connection',
      { SWITCHYARD_WORKERS: '4', SWITCHYARD_AGENT_CONNECTIONS_MAX: '3' },
      'SWITCHYARD_WORKERS is at most',
    ],
    ['no worker', { SWITCHYARD_WORKERS: '0' }, 'SWITCHYARD_WORKERS is "0": expected an integer'],
    [
      'a secret for nobody to share with',
      { SWITCHYARD_AGENT_CACHE_SECRET: cacheSecret },
      'SWITCHYARD_AGENT_CACHE_REDIS_URL and SWITCHYARD_AGENT_CACHE_SECRET are set together',
    ],
    [
      'a control plane that would read answers',
      { SWITCHYARD_AGENT_CACHE_STORE: 'control-plane' },
      'SWITCHYARD_AGENT_CACHE_STORE=control-plane needs SWITCHYARD_AGENT_CACHE_SECRET',
    ],
    [
      'two places to share answers in',
      { ...sharing, SWITCHYARD_AGENT_CACHE_REDIS_URL: 'redis://h:1' },
      'SWITCHYARD_AGENT_CACHE_REDIS_URL and SWITCHYARD_AGENT_CACHE_STORE=control-plane exclude each other',
    ],
    [
      'workers that could not share',
      { ...sharing, SWITCHYARD_WORKERS: '2' },
      'SWITCHYARD_WORKERS has to be 1 with SWITCHYARD_AGENT_CACHE_STORE=control-plane',
    ],
    ['a relative folder', { SWITCHYARD_AGENT_CREDENTIAL_FOLDERS: 'secrets' }, 'absolute'],
  ])('refuse %s', (_, over, message) => {
    expect(() => readAgentSettings({ ...least, ...over })).toThrow(message)
  })

  it('let agents share answers in a Redis, or with the control plane', () => {
    expect(readAgentSettings(least)).toMatchObject({ cacheStore: 'redis', cacheRedisUrl: null, cacheSecret: null })
    const redis = { SWITCHYARD_AGENT_CACHE_REDIS_URL: 'redis://h:1', SWITCHYARD_AGENT_CACHE_SECRET: cacheSecret }
    expect(readAgentSettings({ ...least, ...redis, SWITCHYARD_WORKERS: '2' })).toMatchObject({ cacheStore: 'redis' })
    expect(readAgentSettings({ ...least, ...sharing })).toMatchObject({ cacheStore: 'control-plane', cacheSecret })
  })

  it('never show a secret, not even a wrong one', () => {
    const read = () => readAgentSettings({ ...least, SWITCHYARD_JOIN_TOKEN: 'sjt_secret-thing' })
    expect(read).toThrow('SWITCHYARD_JOIN_TOKEN is a text of 16 characters: expected a join token')
  })

  it('take of the environment only the variables that credentials may name', () => {
    const { credentialEnvironment } = readAgentSettings({
      ...least,
      ...{ SWITCHYARD_AGENT_CREDENTIAL_VARIABLES: 'UPSTREAM_KEY, ABSENT', UPSTREAM_KEY: 'k', OTHER: 'o' },
    })
    expect([...credentialEnvironment]).toEqual([['UPSTREAM_KEY', 'k']])
  })

  it('give a request worker Node’s own variables and keep all others back', () => {
    const { variablesKeptBack, workers } = readAgentSettings({
      ...least,
      ...{ PATH: '/bin', NODE_EXTRA_CA_CERTS: '/ca.pem', TZ: 'UTC', AWS_SECRET_ACCESS_KEY: 's', PATHS: 'x' },
    })
    expect(workers).toBe(1)
    expect(Object.keys(variablesKeptBack).sort()).toEqual([
      'AWS_SECRET_ACCESS_KEY',
      'PATHS',
      'SWITCHYARD_CONTROL_PLANE',
    ])
    expect(Object.values(variablesKeptBack)).toEqual([undefined, undefined, undefined])
  })

  it('are all explained, with an example', () => {
    const help = describeAgentSettings()
    for (const row of Object.values(settingsTable)) expect(help).toContain(row.variable)
    expect(help).toContain('Example')
  })
})
