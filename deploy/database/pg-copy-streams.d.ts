/** The package ships no types; what we use of it. */
declare module 'pg-copy-streams' {
  import type { Readable, Writable } from 'node:stream'
  import type { Submittable } from 'pg'

  interface Copied extends Submittable {
    /** Valid once the stream has ended. */
    readonly rowCount: number
  }

  export function to(sql: string): Readable & Copied
  export function from(sql: string): Writable & Copied
}
