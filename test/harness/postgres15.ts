import { existsSync } from 'node:fs'
import path from 'node:path'
import { unpackDebianPackages } from './debian-package.js'

/** `bin` of a PostgreSQL 15: the system's, else Debian's package unpacked beside the tests. */
export function postgres15Folder(): string {
  const installed = '/usr/lib/postgresql/15/bin'
  if (existsSync(path.join(installed, 'initdb'))) return installed
  const root = unpackDebianPackages('postgresql-15', ['postgresql-15', 'postgresql-client-15', 'libpq5'])
  return path.join(root, 'usr', 'lib', 'postgresql', '15', 'bin')
}
