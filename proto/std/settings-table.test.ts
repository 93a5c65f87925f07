import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { describeSettings, readSettings, SettingsError, setting } from './settings-table.js'

const table = {
  name: setting.text('T_NAME', { sentence: 'A name.', pattern: /^[a-z]+$/, shape: 'small letters' }),
  secret: setting.text('T_SECRET', { sentence: 'A secret.', secret: true, pattern: /^sk-/, shape: 'sk-…' }),
  folder: setting.text('T_FOLDER', { sentence: 'A folder.', fallback: null }),
  port: setting.integer('T_PORT', { sentence: 'A port.', fallback: 80, min: 0, max: 65_535 }),
  share: setting.ratio('T_SHARE', { sentence: 'A share.', fallback: 0.5 }),
  loud: setting.flag('T_LOUD', { sentence: 'Loud or not.', fallback: false }),
  level: setting.choice('T_LEVEL', { sentence: 'A level.', fallback: 'info', among: ['debug', 'info'] }),
  hosts: setting.list('T_HOSTS', { sentence: 'Hosts.', pattern: /^[a-z.]+$/, shape: 'hosts' }),
  keys: setting.list('T_KEYS', { sentence: 'Keys.', required: true, secret: true, pattern: /^k:/, shape: 'k:…' }),
} as const

const least = { T_NAME: 'x', T_SECRET: 'sk-1', T_KEYS: 'k:1' }
const read = (more: Readonly<Record<string, string | undefined>>) => readSettings(table, { ...least, ...more })

function messageOf(environment: Readonly<Record<string, string | undefined>>): string {
  try {
    readSettings(table, environment)
  } catch (error) {
    expect(error).toBeInstanceOf(SettingsError)
    return (error as SettingsError).message
  }
  throw new Error('was read')
}

describe('a table of settings', () => {
  it('gives defaults where nothing is said; an empty text says nothing', () => {
    const defaults = {
      ...{ name: 'x', secret: 'sk-1', folder: null, port: 80, share: 0.5, loud: false, level: 'info' },
      ...{ hosts: [], keys: ['k:1'] },
    }
    expect(read({})).toEqual(defaults)
    expect(read({ T_PORT: '', T_FOLDER: '', T_LOUD: '', T_HOSTS: '' })).toEqual(defaults)
    expect(Object.isFrozen(read({}))).toBe(true)
  })

  it('reads what is said', () => {
    const said = { T_FOLDER: '/x', T_PORT: '0', T_SHARE: '.25', T_LOUD: '1', T_LEVEL: 'debug', T_HOSTS: 'a.b, c' }
    expect(read(said)).toMatchObject({
      ...{ folder: '/x', port: 0, share: 0.25, loud: true, level: 'debug', hosts: ['a.b', 'c'] },
    })
  })

  it.each([
    ['T_PORT', ['65536', '-1', '1.0', '1e3', '0x10', ' 80', 'eighty']],
    ['T_SHARE', ['1.01', '-0.1', '1.', 'half', '1e-1']],
    ['T_LOUD', ['yes', 'TRUE', '2']],
    ['T_LEVEL', ['warn', 'INFO']],
    ['T_HOSTS', ['a,', ',', 'a,B']],
    ['T_NAME', ['X', 'x y']],
  ])('refuses a wrong %s by its name, with what was expected', (variable, wrong) => {
    for (const text of wrong) {
      expect(messageOf({ ...least, [variable]: text })).toMatch(
        new RegExp(`^${variable} is ${JSON.stringify(text).replace(/[.+]/g, '\\$&')}: expected .+$`),
      )
    }
  })

  it('tells everything that is wrong at once', () => {
    const lines = messageOf({ T_PORT: 'x', T_LEVEL: 'loud' }).split('\n')
    expect(lines.map((line) => line.split(' ')[0])).toEqual(['T_NAME', 'T_SECRET', 'T_PORT', 'T_LEVEL', 'T_KEYS'])
    expect(lines[0]).toBe('T_NAME is required: expected small letters')
  })

  it('never repeats a secret, nor much of anything', () => {
    const text = fc.string({ minLength: 8, maxLength: 200 }).filter((value) => !/^(?:sk-|k:)/.test(value))
    fc.assert(
      fc.property(text, (value) => {
        const message = messageOf({ ...least, T_SECRET: value, T_KEYS: `!${value}` })
        expect(message).not.toContain(value)
        expect(message).toContain(`T_SECRET is a text of ${value.length} characters`)
      }),
      { seed: 1 },
    )
    expect(messageOf({ ...least, T_NAME: '!'.repeat(10_000) }).length).toBeLessThan(200)
  })

  it('reads every whole number within its bounds, and no other', () => {
    fc.assert(
      fc.property(fc.integer({ min: -100_000, max: 100_000 }), (value) => {
        const fits = value >= 0 && value <= 65_535
        if (fits) expect(read({ T_PORT: String(value) }).port).toBe(value)
        else expect(messageOf({ ...least, T_PORT: String(value) })).toContain('an integer from 0 to 65535')
      }),
      { seed: 1 },
    )
  })

  it('explains every row, and no default of a secret', () => {
    const withDefault = setting.text('T_TOKEN', { sentence: 'A token.', secret: true, fallback: 'hunter2' })
    const text = describeSettings({ ...table, withDefault })
    for (const { variable, sentence, shape } of Object.values(table)) {
      for (const part of [variable, sentence, shape]) expect(text).toContain(part)
    }
    expect(text).toContain('T_NAME\n    small letters; default: required\n    A name.')
    expect(text).toContain('T_FOLDER\n    a text; default: none')
    expect(text).toContain('T_TOKEN\n    a text; default: (secret)')
    expect(text).not.toContain('hunter2')
  })
})
