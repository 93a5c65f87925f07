import net from 'node:net'
import { throwRefusal } from '../../proto/std/refusal.js'

/** Where each part of a local installation listens: eight ports in a row. */
export interface LocalPorts {
  readonly http: number
  readonly controlPlaneMetrics: number
  readonly fleet: number
  readonly enrol: number
  readonly agent: number
  readonly agentMetrics: number
  readonly simulator: number
  readonly postgres: number
}

const names: Readonly<Record<keyof LocalPorts, string>> = {
  http: 'GraphQL',
  controlPlaneMetrics: 'control plane metrics',
  fleet: 'fleet',
  enrol: 'enrolment',
  agent: 'agent',
  agentMetrics: 'agent metrics',
  simulator: 'simulator',
  postgres: 'PostgreSQL',
}

export function localPorts(base: number): LocalPorts {
  return {
    http: base,
    controlPlaneMetrics: base + 1,
    fleet: base + 2,
    enrol: base + 3,
    agent: base + 4,
    agentMetrics: base + 5,
    simulator: base + 6,
    postgres: base + 7,
  }
}

/** Refuses with the first port that somebody else listens on, and says how to go elsewhere. */
export async function requireFreePorts(ports: LocalPorts): Promise<void> {
  for (const [part, port] of Object.entries(ports) as [keyof LocalPorts, number][]) {
    if (await isFree(port)) continue
    const elsewhere = ports.http + 100 <= 65_528 ? ports.http + 100 : 7_400
    throwRefusal(
      'conflict',
      `port ${port} (${names[part]}) is taken by another program; end that one, or take other ports: npm start -- --port-base ${elsewhere}`,
    )
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}
