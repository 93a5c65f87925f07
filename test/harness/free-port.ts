import { randomInt } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'

/**
 * Ports for servers that tests start. Never from the ephemeral range (32768 and up on Linux, 49152 and up on macOS):
 * any outgoing connection may take such a port between the look and the bind, and a server that must come back on its
 * port after a kill would find it gone. A port is lent to one live process at a time by a file that names it, so test
 * runs side by side do not meet.
 */
const firstPort = 20_000
const lastPort = 29_999
const registry = path.join(os.tmpdir(), `switchyard-test-ports-${os.userInfo().uid}`)

/** A port on 127.0.0.1 that nobody listens on and no other live test process holds; ours until this process ends. */
export async function freePort(): Promise<number> {
  mkdirSync(registry, { recursive: true, mode: 0o700 })
  for (let tries = 0; tries < 500; tries++) {
    const port = randomInt(firstPort, lastPort + 1)
    if (!claim(port)) continue
    if (await canListen(port)) return port
  }
  throw new Error(`no free port between ${firstPort} and ${lastPort}; is ${registry} full of live processes?`)
}

/** Gives a port back before this process ends; for a run that starts many servers. */
export function returnPort(port: number): void {
  rmSync(path.join(registry, String(port)), { force: true })
}

function claim(port: number): boolean {
  const file = path.join(registry, String(port))
  try {
    const handle = openSync(file, 'wx')
    writeSync(handle, String(process.pid))
    closeSync(handle)
    return true
  } catch (error) {
    if ((error as { code?: string }).code !== 'EEXIST') throw error
    if (ownerLives(file)) return false
    // The owner is dead. Whoever claims next takes it: removing and claiming in one breath could race with another.
    rmSync(file, { force: true })
    return false
  }
}

function ownerLives(file: string): boolean {
  try {
    const pid = Number(readFileSync(file, 'utf8'))
    // Empty: claimed this very moment.
    if (pid === 0) return true
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM'
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '0.0.0.0', exclusive: true }, () => server.close(() => resolve(true)))
  })
}
