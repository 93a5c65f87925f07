import path from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const source = ['proto', 'prisma', 'control-plane', 'agent', 'sdk', 'deploy', 'test']
const under = (pattern: string) => source.map((room) => `${room}/**/${pattern}`)
const exclude = ['**/node_modules/**', '.build/**']
const crossRoom = ['test/paths/**/*.test.ts', 'test/scenarios/**/*.test.ts']
const withServers = [...under('*.pg.test.ts'), ...under('*.redis.test.ts')]
const globalSetup = path.join(import.meta.dirname, 'test/harness/global-setup.ts')

/** The longest files of their projects, longest first. */
const longest = [
  ...['kills-postgres', 'kills-redis', 'usage', 'start', 'usage-servers-killed', 'permission-matrix.pg', 'outage'],
  ...['embedded-postgres.pg', 'fleet.pg', 'main.pg', 'backup.pg', 'tenancy.pg', 'migrate.pg', 'schema-engine.pg'],
  ...['sender', 'apply-snapshot-history', 'last-known-good', 'usage-intake'],
].map((name) => `/${name}.test.ts`)

/**
 * A fresh clone knows no durations, and vitest then goes by size: the kills, which are long in time and short in lines,
 * came last and one worker had nothing left to do. A name that is wrong here costs time and nothing else.
 */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = longest.findIndex((name) => moduleId.endsWith(name))
      return at < 0 ? longest.length : at
    }
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b))
  }
}

/**
 * Projects by what a test needs: nothing, Postgres, Redis, the whole product. A file's name says which one it is in.
 * TypeScript is turned into JavaScript by esbuild after our tsconfig (decorators without metadata).
 */
export default defineConfig({
  resolve: {
    // Tests import graphql as ESM, type-graphql as CommonJS; two copies of it refuse each other's types.
    alias: [{ find: /^graphql$/, replacement: path.join(import.meta.dirname, 'node_modules/graphql/index.js') }],
  },
  test: {
    pool: 'forks',
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    // Machines of continuous integration are shared: a test of several processes may lose its slice of the processor for
    // seconds. It gets a second try there, and the report names it; at a desk a first failure is a failure.
    retry: process.env['CI'] === 'true' ? 1 : 0,
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: under('*.test.ts'),
          exclude: [...exclude, ...withServers, ...crossRoom],
          testTimeout: 10_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'pg',
          include: under('*.pg.test.ts'),
          exclude: [...exclude, ...crossRoom],
          globalSetup,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'redis',
          include: under('*.redis.test.ts'),
          exclude: [...exclude, ...crossRoom],
          globalSetup,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: crossRoom,
          exclude,
          globalSetup,
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
})
