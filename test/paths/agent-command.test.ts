import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { expect, test } from 'vitest'
import { repositoryFolder } from '../harness/repository-folder.js'

const script = path.join(repositoryFolder(), '.build/agent/src/main.js')

function run(args: readonly string[], environment: Record<string, string>) {
  return spawnSync(process.execPath, [script, ...args], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] ?? '', ...environment },
  })
}

test('--help prints every setting', () => {
  const { status, stdout } = run(['--help'], {})
  expect(status).toBe(0)
  expect(stdout).toContain('SWITCHYARD_AGENT_SPOOL_BYTES_MAX')
})

test('a wrong setting is told with what was expected, what was misspelt, and where every setting is listed', () => {
  const { status, stderr } = run([], { SWITCHYARD_AGENT_PORT: 'x', SWITCHYARD_CONTROLPLANE: 'localhost:7402' })
  expect(status).toBe(64)
  expect(stderr).toBe(
    `switchyard agent: SWITCHYARD_AGENT_PORT is "x": expected an integer from 0 to 65535
SWITCHYARD_CONTROL_PLANE is required: expected host:port
SWITCHYARD_CONTROLPLANE is not a setting and has no effect: did you mean SWITCHYARD_CONTROL_PLANE?

npm run agent -- --help lists every setting
`,
  )
})
