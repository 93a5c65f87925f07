import { spawn } from 'node:child_process'
import path from 'node:path'
import { repositoryFolder } from './repository-folder.js'

/** Runs Prisma's command line (with the stand-in engine) against `url`; never throws for a non-zero exit. */
export async function runPrisma(
  url: string,
  args: readonly string[],
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const script = path.join(repositoryFolder(), 'prisma', 'prisma.mjs')
  const child = spawn(process.execPath, [script, ...args], { env: { ...process.env, DATABASE_URL: url } })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code, stdout, stderr }
}
