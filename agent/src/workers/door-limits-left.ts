import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import type { DoorLimits } from '../server/http-server.js'

/** What the other workers have open, as last told. */
export interface OthersOpen {
  connections: number
  inFlight: number
}

/**
 * The limits of the agent's door, as one worker sees them: of requests, what the others were last told to have left.
 *
 * Not so for connections. `node:cluster` deals a connection that a worker's full server does not take to the next worker,
 * and, where all are full, round and round for as long as it stands. So a worker's server takes all that it is dealt, and
 * `boundConnections` closes what is too much.
 */
export class DoorLimitsLeft implements DoorLimits {
  readonly connectionsMax = Number.MAX_SAFE_INTEGER
  readonly bodyBytesMax: number
  readonly headerBytesMax: number
  readonly requestTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly #inFlightMax: number
  readonly #others: OthersOpen

  constructor(limits: DoorLimits, others: OthersOpen) {
    this.bodyBytesMax = limits.bodyBytesMax
    this.headerBytesMax = limits.headerBytesMax
    this.requestTimeoutMs = limits.requestTimeoutMs
    this.idleTimeoutMs = limits.idleTimeoutMs
    this.#inFlightMax = limits.inFlightMax
    this.#others = others
  }

  get inFlightMax(): number {
    return Math.max(0, this.#inFlightMax - this.#others.inFlight)
  }
}

/**
 * Closes connections that this process's servers take beyond `connectionsMax` less what the others have open, as they come.
 * `own` counts with the new one. Returns the way to stop.
 */
export function boundConnections(options: {
  readonly connectionsMax: number
  readonly others: OthersOpen
  readonly own: () => number
  readonly onDrop: () => void
}): () => void {
  const look = (message: unknown) => {
    const { socket } = message as { socket: Socket }
    if (options.own() + options.others.connections <= options.connectionsMax) return
    socket.destroy()
    options.onDrop()
  }
  subscribe(channel, look)
  return () => void unsubscribe(channel, look)
}

/** Published by `node:net` for each connection that a server of this process takes, after its listeners have seen it. */
const channel = 'net.server.socket'
