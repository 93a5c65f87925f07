import { throwRefusal } from '../../../proto/std/refusal.js'

/** Which slice of an ordered list somebody wants: at most `first` items after the opaque cursor `after`. */
export interface PageArgs {
  readonly first: number
  readonly after: string | null
}

/** One slice; `nextCursor` is null at the end of the list. */
export interface Page<T> {
  readonly items: readonly { readonly item: T; readonly cursor: string }[]
  readonly hasNextPage: boolean
}

export const pageSizeMax = 100

/**
 * Cursors are opaque text over the ordering key of a row, so a page never shifts when rows are added before it. Ids sort
 * by creation, so for most lists the id alone is the key.
 */
export function encodeCursor(...key: readonly string[]): string {
  return Buffer.from(JSON.stringify(key)).toString('base64url')
}

/** The key inside a cursor, or null without one; refuses (`bad_input`, field `after`) what we did not make. */
export function decodeCursor(cursor: string | null, partCount: number): readonly string[] | null {
  if (cursor === null) return null
  try {
    const key: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'))
    if (Array.isArray(key) && key.length === partCount && key.every((part) => typeof part === 'string')) return key
  } catch {
    // Not ours; refused below.
  }
  return throwRefusal('bad_input', 'not a cursor of this list; take one from pageInfo.endCursor', { field: 'after' })
}

/** A page from rows that were read with a limit of `first + 1`: the extra one only says that there is more. */
export function pageOf<T>(rows: readonly T[], args: PageArgs, cursorOf: (row: T) => string): Page<T> {
  return {
    items: rows.slice(0, args.first).map((item) => ({ item, cursor: cursorOf(item) })),
    hasNextPage: rows.length > args.first,
  }
}
