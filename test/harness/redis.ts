import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { systemClock } from '../../proto/std/clock.js'
import { libraryFolders, unpackDebianPackages } from './debian-package.js'
import { freePort, returnPort } from './free-port.js'
import { makeTestFolder } from './test-folder.js'

/** A real redis-server of the caller's own, with an append-only file so that a kill loses what a kill really loses. */
export interface TestRedis {
  readonly url: string
  readonly port: number
  /** Changes with `restart`. */
  readonly pid: number
  /** SIGKILL; returns when it is gone. */
  kill(): Promise<void>
  /** Starts again on the same data and port; returns when it answers. */
  restart(): Promise<void>
  /** Stops it and removes its data. */
  stop(): Promise<void>
}

/** From the PATH, else Debian's package unpacked beside the tests (no root); the error says what to do otherwise. */
export async function testRedis(options: { port?: number } = {}): Promise<TestRedis> {
  const program = findProgram()
  const folder = makeTestFolder()
  const port = options.port ?? (await freePort())
  let child = await start(program, folder, port)
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    get pid() {
      return child.pid ?? 0
    },
    kill: () => end(child, 'SIGKILL'),
    restart: async () => {
      child = await start(program, folder, port)
    },
    stop: async () => {
      await end(child, 'SIGTERM')
      rmSync(folder, { recursive: true, force: true })
      returnPort(port)
    },
  }
}

interface Program {
  command: string
  libraries: string | null
}

function findProgram(): Program {
  if (spawnSync('redis-server', ['--version']).status === 0) return { command: 'redis-server', libraries: null }
  // Debian 12: Redis 7.0.15, with the libraries of its own that a plain system may lack.
  const root = unpackDebianPackages('redis', [
    'redis-server',
    'redis-tools',
    'libjemalloc2',
    'liblzf1',
    'libatomic1',
    'libssl3',
    'liblua5.1-0',
    'lua-bitop',
    'lua-cjson',
  ])
  const command = path.join(root, 'usr', 'bin', 'redis-server')
  const libraries = libraryFolders(root)
  const tried = spawnSync(command, ['--version'], { encoding: 'utf8', env: { LD_LIBRARY_PATH: libraries } })
  if (tried.status === 0) return { command, libraries }
  const reason = tried.error?.message ?? tried.stderr.trim().split('\n')[0]
  throw new Error(
    `these tests need Redis 7, and Debian's package does not run here (${reason}); install redis-server so that it is on the PATH`,
  )
}

async function start(program: Program, folder: string, port: number): Promise<ChildProcess> {
  const data = path.join(folder, 'redis')
  if (!existsSync(data)) mkdirSync(data)
  const settings = {
    ...{ port, bind: '127.0.0.1', dir: data, daemonize: 'no', 'protected-mode': 'yes', loglevel: 'warning' },
    ...{ appendonly: 'yes', appendfsync: 'everysec', save: '', 'maxmemory-policy': 'noeviction' },
  }
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])
  const child = spawn(program.command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...(program.libraries === null ? {} : { LD_LIBRARY_PATH: program.libraries }) },
  })
  let tail = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      tail = (tail + text).slice(-4096)
    })
  }
  for (const deadlineMs = systemClock.nowMs() + 20_000; ; ) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`redis-server ended at its start: ${tail}`)
    if (await answersPing(port)) return child
    if (systemClock.nowMs() > deadlineMs) {
      await end(child, 'SIGKILL')
      throw new Error(`redis-server did not answer within 20 s: ${tail}`)
    }
    await systemClock.sleep(20)
  }
}

/** True when it answers `PONG`: not while it still loads its file. */
function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    const answer = (value: boolean) => {
      socket.destroy()
      resolve(value)
    }
    socket.once('data', (bytes) => answer(bytes.toString().startsWith('+PONG')))
    socket.once('error', () => answer(false))
    socket.once('close', () => resolve(false))
  })
}

function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.once('exit', () => resolve())
    child.kill(signal)
  })
}
