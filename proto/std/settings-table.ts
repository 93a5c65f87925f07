/**
 * Settings as data: each variable is declared once with type, unit, default and a sentence; parsing, `--help` and the
 * documentation are made from the same row. A plane's `settings.ts` holds its table and is the only reader of the
 * environment; nothing here reads anything.
 */
export interface Setting<T> {
  readonly variable: string
  readonly shape: string
  readonly sentence: string
  readonly secret: boolean
  readonly defaultText: string
  /** Value of `text`, or the default when absent; a `SettingFault` when it does not have the shape. */
  parse(text: string | undefined): T
}

export type SettingsTable = Readonly<Record<string, Setting<unknown>>>
export type SettingsOf<Table extends SettingsTable> = {
  readonly [K in keyof Table]: Table[K] extends Setting<infer T> ? T : never
}

/** One or more variables are wrong: every one of them is in the message, secrets by shape only. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError'
}

class SettingFault extends Error {}

interface Declared<T> {
  shape: string
  sentence: string
  fallback: T | undefined
  secret?: boolean
  defaultText?: string
  read: (text: string) => T | undefined
}

function declare<T>(variable: string, declared: Declared<T>): Setting<T> {
  return {
    variable,
    shape: declared.shape,
    sentence: declared.sentence,
    secret: declared.secret ?? false,
    defaultText: declared.defaultText ?? (declared.fallback === undefined ? 'required' : String(declared.fallback)),
    parse: (text) => {
      if (text === undefined || text === '') {
        if (declared.fallback !== undefined) return declared.fallback
        throw new SettingFault(`${variable} is required: expected ${declared.shape}`)
      }
      const value = declared.read(text)
      if (value !== undefined) return value
      throw new SettingFault(`${variable} is ${shapeOf(text, declared.secret)}: expected ${declared.shape}`)
    },
  }
}

/** What may be said of a wrong value in a log. */
function shapeOf(text: string, secret = false): string {
  return secret
    ? `a text of ${text.length} characters`
    : JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)
}

interface Described {
  sentence: string
  secret?: boolean
}

export const setting = {
  /** Any text; `null` when absent and `fallback` is null. */
  text<T extends string | null = string>(
    variable: string,
    options: Described & { fallback?: T; shape?: string; pattern?: RegExp },
  ) {
    return declare<string | T>(variable, {
      shape: options.shape ?? 'a text',
      sentence: options.sentence,
      fallback: options.fallback as string | T | undefined,
      ...(options.secret === undefined ? {} : { secret: options.secret }),
      ...(options.fallback === null ? { defaultText: 'none' } : {}),
      read: (text) => (options.pattern && !options.pattern.test(text) ? undefined : text),
    })
  },
  /** A whole number within [min, max]; the unit ends the variable's name. */
  integer(variable: string, options: Described & { fallback?: number; min: number; max: number }) {
    return declare<number>(variable, {
      shape: `an integer from ${options.min} to ${options.max}`,
      sentence: options.sentence,
      fallback: options.fallback,
      read: (text) => {
        const value = Number(text)
        return /^-?\d+$/.test(text) && value >= options.min && value <= options.max ? value : undefined
      },
    })
  },
  ratio(variable: string, options: Described & { fallback?: number }) {
    return declare<number>(variable, {
      shape: 'a number from 0 to 1',
      sentence: options.sentence,
      fallback: options.fallback,
      read: (text) => {
        const value = Number(text)
        return /^\d*\.?\d+$/.test(text) && value >= 0 && value <= 1 ? value : undefined
      },
    })
  },
  flag(variable: string, options: Described & { fallback: boolean }) {
    return declare<boolean>(variable, {
      shape: 'true or false',
      sentence: options.sentence,
      fallback: options.fallback,
      read: (text) => (text === 'true' || text === '1' ? true : text === 'false' || text === '0' ? false : undefined),
    })
  },
  choice<T extends string>(variable: string, options: Described & { fallback?: T; among: readonly T[] }) {
    return declare<T>(variable, {
      shape: `one of ${options.among.join(', ')}`,
      sentence: options.sentence,
      fallback: options.fallback,
      read: (text) => options.among.find((choice) => choice === text),
    })
  },
  /** Comma-separated texts; `fallback` (none, unless said) when absent, a fault when absent and `required`. */
  list(
    variable: string,
    options: Described & { shape?: string; pattern?: RegExp; fallback?: readonly string[]; required?: boolean },
  ) {
    const fallback = options.required ? undefined : (options.fallback ?? [])
    return declare<readonly string[]>(variable, {
      shape: options.shape ?? 'comma-separated texts',
      sentence: options.sentence,
      fallback,
      ...(fallback === undefined ? {} : { defaultText: fallback.join(',') || 'none' }),
      ...(options.secret === undefined ? {} : { secret: options.secret }),
      read: (text) => {
        const items = text.split(',').map((item) => item.trim())
        return items.every((item) => item !== '' && (!options.pattern || options.pattern.test(item)))
          ? items
          : undefined
      },
    })
  },
}

/** Every setting of `table` from `environment`; a `SettingsError` naming each wrong one. */
export function readSettings<Table extends SettingsTable>(
  table: Table,
  environment: Readonly<Record<string, string | undefined>>,
): SettingsOf<Table> {
  const faults: string[] = []
  const values: Record<string, unknown> = {}
  for (const [name, declared] of Object.entries(table)) {
    try {
      values[name] = declared.parse(environment[declared.variable])
    } catch (fault) {
      if (!(fault instanceof SettingFault)) throw fault
      faults.push(fault.message)
    }
  }
  if (faults.length > 0) throw new SettingsError(faults.join('\n'))
  return Object.freeze(values) as SettingsOf<Table>
}

/** The table as `--help` prints it. */
export function describeSettings(table: SettingsTable): string {
  return Object.values(table)
    .map(
      (row) =>
        `${row.variable}\n    ${row.shape}; default: ${row.secret && row.defaultText !== 'required' && row.defaultText !== 'none' ? '(secret)' : row.defaultText}\n    ${row.sentence}`,
    )
    .join('\n')
}
