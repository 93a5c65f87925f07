import { provideTestPostgres } from './postgres.js'
import { sweepDeadTestFolders } from './test-folder.js'

/** Once per run of vitest that has tests with Postgres; returns the tear-down. */
export async function setup(): Promise<() => Promise<void>> {
  sweepDeadTestFolders()
  return provideTestPostgres()
}
