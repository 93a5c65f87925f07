import { existsSync } from 'node:fs'
import path from 'node:path'

/** The root of the source tree, from source and from `.build` alike. */
export function repositoryFolder(): string {
  for (let here = import.meta.dirname; ; here = path.dirname(here)) {
    if (existsSync(path.join(here, 'package-lock.json'))) return here
    if (here === path.dirname(here)) throw new Error(`no package-lock.json above ${import.meta.dirname}`)
  }
}
