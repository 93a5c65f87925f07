import { expect, test } from 'vitest'
import { setting } from './settings-table.js'
import { describeUnknownVariables } from './unknown-variables.js'

const table = {
  port: setting.integer('SWITCHYARD_HTTP_PORT', { sentence: 'A port.', fallback: 80, min: 0, max: 65_535 }),
  keys: setting.list('SWITCHYARD_WRAP_KEYS', { sentence: 'Keys.', required: true, secret: true }),
  level: setting.text('SWITCHYARD_LOG_LEVEL', { sentence: 'A level.', fallback: 'info' }),
}
const own = /^SWITCHYARD_(?!AGENT_)/
const told = (environment: Record<string, string>) => describeUnknownVariables(table, environment, own)

test('what is known, and what is not ours, is silent', () => {
  expect(told({ SWITCHYARD_HTTP_PORT: '1', PATH: '/bin', SWITCHYARD_AGENT_HOST: 'x', SWITCH: 'y' })).toEqual([])
})

test.each([
  ['SWITCHYARD_HTTP_PROT', 'SWITCHYARD_HTTP_PORT'],
  ['SWITCHYARD_WRAP_KEY', 'SWITCHYARD_WRAP_KEYS'],
  ['SWITCHYARD_LOGLEVEL', 'SWITCHYARD_LOG_LEVEL'],
  ['SWITCHYARD_PORT', 'SWITCHYARD_HTTP_PORT'],
])('%s is told, with the name that was meant: %s', (variable, meant) => {
  expect(told({ [variable]: 'hunter2' })).toEqual([
    `${variable} is not a setting and has no effect: did you mean ${meant}?`,
  ])
})

test('a slip that leads out of our names is told as well', () => {
  const { level } = table
  const sentences = describeUnknownVariables(
    { level },
    { SWITCHYARD_LOG_LEVLE: 'x', SWITCHYARD_HTTP_PORT: '1' },
    /^SWITCHYARD_AGENT_/,
  )
  expect(sentences).toEqual([
    'SWITCHYARD_LOG_LEVLE is not a setting and has no effect: did you mean SWITCHYARD_LOG_LEVEL?',
  ])
})

test('where no name is near, help is', () => {
  expect(told({ SWITCHYARD_SOMETHING_ELSE_ALTOGETHER: '1' })).toEqual([
    'SWITCHYARD_SOMETHING_ELSE_ALTOGETHER is not a setting and has no effect: --help lists every setting',
  ])
})

test('what Kubernetes puts into every container is not a slip', () => {
  const names = ['SERVICE_HOST', 'SERVICE_PORT', 'SERVICE_PORT_HTTP', 'PORT_7400_TCP', 'PORT_7400_TCP_ADDR']
  expect(told(Object.fromEntries(names.map((name) => [`SWITCHYARD_CONTROL_${name}`, 'x'])))).toEqual([])
})
