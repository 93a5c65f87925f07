import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

const sdk = import.meta.dirname
const root = path.dirname(sdk)
let folder: string
let packed: string

/** What npm would publish, unpacked into a project that has nothing but the package and its dependencies. */
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'sdk-package-'))
  const copy = path.join(folder, 'source')
  mkdirSync(copy)
  for (const name of ['package.json', 'README.md', 'schema.graphql'])
    cpSync(path.join(sdk, name), path.join(copy, name))
  const compiler = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  execFileSync(process.execPath, [
    compiler,
    '-p',
    path.join(sdk, 'tsconfig.publish.json'),
    '--outDir',
    path.join(copy, 'dist'),
  ])
  execFileSync('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: copy })
  packed = path.join(folder, 'project', 'node_modules', '@switchyard', 'sdk')
  mkdirSync(packed, { recursive: true })
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? ''
  execFileSync('tar', ['-xzf', path.join(folder, tarball), '--strip-components=1', '-C', packed])
  for (const name of ['commander', 'yaml'])
    symlinkSync(path.join(root, 'node_modules', name), path.join(folder, 'project', 'node_modules', name))
}, 60_000)

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

function run(args: readonly string[]): string {
  return execFileSync(process.execPath, args, { cwd: path.join(folder, 'project'), encoding: 'utf8' })
}

test('the package holds the client, its types and the command line, and no sources or tests', () => {
  const names = readdirSync(packed, { recursive: true, encoding: 'utf8' })
  for (const name of [
    'dist/client.js',
    'dist/client.d.ts',
    'dist/gen/types.d.ts',
    'dist/cli/main.js',
    'schema.graphql',
  ])
    expect(names).toContain(name)
  expect(names.filter((name) => /\.test\.|generate|(?<!\.d)\.ts$|tsbuildinfo/.test(name))).toEqual([])
})

test('plain Node imports it from npm alone', () => {
  const script = `import { createClient, SwitchyardError } from '@switchyard/sdk'
    import { operations } from '@switchyard/sdk/operations'
    const client = createClient({ url: 'http://127.0.0.1:1', token: 't', retriesMax: 0 })
    const fault = await client.viewer().catch((error) => error)
    console.log(fault instanceof SwitchyardError, typeof client.createApiKey, operations.usage.kind)`
  writeFileSync(path.join(folder, 'project', 'use.mjs'), script)
  expect(run(['use.mjs']).trim()).toBe('true function query')
})

test('a strict TypeScript project sees the types', () => {
  writeFileSync(
    path.join(folder, 'project', 'use.ts'),
    `import { createClient, type UsageStatus } from '@switchyard/sdk'
     const client = createClient({ url: 'x', token: 't' })
     export async function statusOf(requestId: string): Promise<UsageStatus | undefined> {
       return (await client.usageRecord({ requestId })).usageRecord?.status
     }
     // @ts-expect-error a number is no id
     client.apiKey({ id: 5 })`,
  )
  const compiler = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  run([
    compiler,
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2023',
    '--lib',
    'es2023,dom',
    '--types',
    '',
    'use.ts',
  ])
})

test('the command line says what it can do', () => {
  expect(existsSync(path.join(packed, 'dist/cli/main.js'))).toBe(true)
  expect(run([path.join(packed, 'dist/cli/main.js'), '--help'])).toContain('switchyard keys create')
})
