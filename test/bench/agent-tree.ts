import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { freePort } from '../harness/free-port.js'
import { eventually } from '../harness/process.js'
import type { Contestant } from './agent-contest.js'
import type { LoadTarget } from './agent-load.js'
import type { BenchProcess } from './agent-process.js'

/** One process of the agent. */
export interface ProcessUse {
  readonly pid: number
  readonly cpuUs: number
  readonly rssBytes: number
}

/**
 * The agent as it is run, from its own main module and with everything on, in front of a control plane that is a process of
 * its own (`agent-plane.ts`). Measured from outside, so that all of its processes count: what the kernel says each of their
 * threads has had of a processor, in nanoseconds.
 */
export class AgentTree implements Contestant {
  readonly name: string
  readonly target: LoadTarget
  readonly #child: ChildProcess
  readonly #folder: string
  readonly #ports: { readonly http: number; readonly metrics: number }

  private constructor(
    name: string,
    target: LoadTarget,
    run: { child: ChildProcess; folder: string; ports: { http: number; metrics: number } },
  ) {
    this.name = name
    this.target = target
    this.#child = run.child
    this.#folder = run.folder
    this.#ports = run.ports
  }

  /** Resolves when it serves by the plane's configuration. */
  static async start(name: string, plane: BenchProcess, workers: number): Promise<AgentTree> {
    const ports = { http: await freePort(), metrics: await freePort() }
    const folder = mkdtempSync(path.join(os.tmpdir(), 'switchyard-bench-'))
    const main = path.join(import.meta.dirname, '../../agent/src/main.js')
    const child = spawn(process.execPath, [main], {
      env: {
        PATH: process.env['PATH'] ?? '',
        ...(JSON.parse(plane.ready.url) as Record<string, string>),
        SWITCHYARD_WORKERS: String(workers),
        SWITCHYARD_AGENT_PORT: String(ports.http),
        SWITCHYARD_AGENT_METRICS_PORT: String(ports.metrics),
        SWITCHYARD_AGENT_DATA_DIR: path.join(folder, 'agent'),
      },
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    const end = () => child.kill('SIGKILL')
    process.once('exit', end)
    child.once('exit', () => process.off('exit', end))
    await eventually(`${name} is ready or ended`, async () => {
      if (child.exitCode !== null) return true
      return (await fetch(`http://127.0.0.1:${ports.metrics}/readyz`)).ok
    })
    if (child.exitCode !== null) throw new Error(`${name} ended with code ${child.exitCode}`)
    const { apiKey } = plane.ready
    const url = `http://127.0.0.1:${ports.http}`
    return new AgentTree(name, apiKey === undefined ? { url } : { url, apiKey }, { child, folder, ports })
  }

  /** The process that was started, and then its workers. */
  processes(): ProcessUse[] {
    const primary = this.#child.pid ?? 0
    const children = readFileSync(`/proc/${primary}/task/${primary}/children`, 'latin1').trim().split(' ')
    return [primary, ...children.filter((text) => text !== '').map(Number)].map(useOf)
  }

  async usage(): Promise<{ readonly cpuUs: number; readonly rssBytes: number }> {
    const uses = this.processes()
    return {
      cpuUs: uses.reduce((sum, { cpuUs }) => sum + cpuUs, 0),
      rssBytes: uses.reduce((sum, { rssBytes }) => sum + rssBytes, 0),
    }
  }

  /** A number of `/metrics`, all its series together. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.#ports.metrics}/metrics`)).text()
    const values = [...text.matchAll(new RegExp(`^switchyard_agent_${name}(?:\\{.*\\})? (.*)$`, 'gm'))]
    return values.reduce((sum, [, value]) => sum + Number(value), 0)
  }

  async stop(): Promise<void> {
    const gone = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()))
    this.#child.kill('SIGTERM')
    await gone
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

function useOf(pid: number): ProcessUse {
  let cpuNs = 0
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    cpuNs += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0])
  }
  const resident = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]
  return { pid, cpuUs: cpuNs / 1000, rssBytes: Number(resident) * 1024 }
}
