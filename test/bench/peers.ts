import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { freePort } from '../harness/free-port.js'
import { repositoryFolder } from '../harness/repository-folder.js'
import {
  type Contestant,
  type Mode,
  measureTurn,
  modes,
  type Slice,
  summaryOf,
  tableOf,
  warmUp,
} from './agent-contest.js'
import { BenchProcess } from './agent-process.js'

/**
 * The agent beside another gateway that runs on the same runtime, in front of the same upstream and under the same load.
 * The other one is installed on demand, outside our lock file, at the versions named here: the newest of its parts do not
 * fit each other.
 */
const help = `Measures the agent beside a bare proxy and @portkey-ai/gateway.

Usage: npm run bench:peers -- [--turns 10] [--slices 6] [--step-ms 4]

Installs the peer into .switchyard/peers on first use. CPU and memory of the peer are read from /proc, so Linux only.
Last line: one JSON object.`

const { values } = parseArgs({
  options: {
    turns: { type: 'string', default: '10' },
    slices: { type: 'string', default: '6' },
    'step-ms': { type: 'string', default: '4' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(help)
  process.exit(0)
}

const peerManifest = {
  name: 'switchyard-bench-peers',
  private: true,
  dependencies: { '@portkey-ai/gateway': '1.15.2', '@hono/node-server': '1.13.5', hono: '4.9.7' },
  overrides: { '@hono/node-server': '1.13.5', hono: '4.9.7' },
}

const folder = path.join(repositoryFolder(), '.switchyard/peers')
installPeer()

const upstream = await BenchProcess.start('upstream', './agent-upstream.js', [values['step-ms']])
const sink = await BenchProcess.start('sink', './agent-report-sink.js', [])
const { url } = upstream.ready
const floor = await BenchProcess.start('floor', './agent-floor.js', [url])
const agent = await BenchProcess.startAgent(upstream, sink)
const peer = await startPortkey(url)
const contestants: Contestant[] = [floor, agent, peer]
const slices: Record<string, Record<Mode, Slice[]>> = {}
const failures: string[] = []
for (const contestant of contestants) {
  slices[contestant.name] = { plain: [], stream: [] }
  await warmUp(contestant, 5_000)
}
for (let turn = 0; turn < Number(values.turns); turn++) {
  for (const mode of modes) {
    for (const contestant of rotated(contestants, turn)) {
      try {
        const measured = await measureTurn([contestant], mode, 0, Number(values.slices))
        for (const [name, slice] of measured) slices[name]?.[mode].push(slice)
      } catch (fault) {
        failures.push(`${contestant.name} ${mode}: ${(fault as Error).message}`)
      }
    }
  }
}
await Promise.all([floor.stop(), agent.stop(), peer.stop()])
await Promise.all([sink.stop(), upstream.stop()])

const summary = Object.fromEntries(
  Object.entries(slices).map(([name, byMode]) => [
    name,
    Object.fromEntries(modes.flatMap((mode) => (byMode[mode].length > 0 ? [[mode, summaryOf(byMode[mode])]] : []))),
  ]),
)
console.table(tableOf(summary))
for (const failure of new Set(failures)) console.log(`failed: ${failure}`)
console.log(JSON.stringify({ ...summary, failures: [...new Set(failures)] }))

function rotated<T>(items: readonly T[], turn: number): T[] {
  const first = turn % items.length
  return [...items.slice(first), ...items.slice(0, first)]
}

function installPeer(): void {
  const manifest = `${JSON.stringify(peerManifest, null, 2)}\n`
  const file = path.join(folder, 'package.json')
  const isCurrent = existsSync(file) && readFileSync(file, 'utf8') === manifest
  if (isCurrent && existsSync(path.join(folder, 'node_modules/@portkey-ai/gateway'))) return
  console.log(`installing @portkey-ai/gateway ${peerManifest.dependencies['@portkey-ai/gateway']} into ${folder}`)
  mkdirSync(folder, { recursive: true })
  writeFileSync(file, manifest)
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--no-package-lock'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
}

async function startPortkey(upstreamUrl: string): Promise<Contestant & { stop(): Promise<void> }> {
  const port = await freePort()
  const child = spawn(
    process.execPath,
    ['node_modules/@portkey-ai/gateway/build/start-server.js', `--port=${port}`, '--headless'],
    {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { PATH: process.env['PATH'] ?? '', NODE_ENV: 'production' },
    },
  )
  const target = {
    url: `http://127.0.0.1:${port}`,
    apiKey: 'sk-bench',
    headers: ['x-portkey-provider: openai', `x-portkey-custom-host: ${upstreamUrl}/v1`],
  }
  for (let tries = 0; ; tries++) {
    const response = await fetch(target.url).catch(() => null)
    if (response !== null) break
    if (tries > 200 || child.exitCode !== null) throw new Error('the peer did not start')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return {
    name: 'portkey',
    target,
    usage: async () => usageOf(child.pid ?? 0),
    stop: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve())
        child.kill()
      }),
  }
}

/** From /proc: user and system time in ticks of 10 ms, resident pages of 4 KiB. */
function usageOf(pid: number): { cpuUs: number; rssBytes: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return { cpuUs: (Number(fields[11]) + Number(fields[12])) * 10_000, rssBytes: Number(fields[21]) * 4096 }
}
