import type { Socket } from 'node:net'
import { randomFrom } from '../../deploy/local/simulator-text.js'

/** Bytes that nobody should send, from a seed. */

/** Damaged bytes in pieces of any size; then the connection is closed, cut, or left open. */
export function answerDamaged(socket: Socket, seed: number, whole: Buffer): void {
  const random = randomFrom(seed)
  const bytes = damaged(whole, random)
  const pieceBytes = 1 + Math.floor(random() * bytes.length)
  const end = random()
  const next = (at: number) => {
    if (socket.destroyed) return
    if (at < bytes.length) {
      socket.write(bytes.subarray(at, at + pieceBytes))
      setImmediate(next, at + pieceBytes)
    } else if (end < 0.6) socket.end()
    else if (end < 0.9) socket.resetAndDestroy()
  }
  next(0)
}

/** One to three wounds of any kind, more often in the body than in the head. */
export function damaged(whole: Buffer, random: () => number): Buffer {
  let bytes = Buffer.from(whole)
  const bodyStart = bytes.indexOf('\r\n\r\n') + 4
  for (let wounds = 1 + Math.floor(random() * 3); wounds > 0; wounds--) {
    const from = random() < 0.8 ? Math.min(bodyStart, bytes.length) : 0
    const at = from + Math.floor(random() * (bytes.length - from))
    const length = Math.floor(random() * 24)
    const noise = Buffer.from(Array.from({ length: 1 + (length % 6) }, () => Math.floor(random() * 256)))
    const kind = Math.floor(random() * 6)
    if (kind === 0) bytes = Buffer.concat([bytes.subarray(0, at), noise, bytes.subarray(at)])
    else if (kind === 1) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)])
    else if (kind === 2) bytes = bytes.subarray(0, at)
    else if (kind === 3) bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)])
    else if (kind === 4) bytes[at] = noise[0] ?? 0
    else
      bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from('"\\}]{[,:\n'.charAt(length % 9)), bytes.subarray(at)])
    if (bytes.length === 0) return bytes
  }
  return bytes
}

/** `task` for each of `count` seeds, `atOnce` at a time. */
export async function eachSeed(count: number, atOnce: number, task: (seed: number) => Promise<void>): Promise<void> {
  let next = 0
  const run = async () => {
    for (let seed = next++; seed < count; seed = next++) await task(seed)
  }
  await Promise.all(Array.from({ length: atOnce }, run))
}

/** How often each end came, the most frequent first. */
export function tableOf(ends: ReadonlyMap<string, number>): string {
  return [...ends]
    .sort(([, a], [, b]) => b - a)
    .map(([end, count]) => `${end} ${count}`)
    .join(', ')
}
