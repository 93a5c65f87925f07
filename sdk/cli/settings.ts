import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'

/** Where the control plane is and who asks it. */
export interface CliSettings {
  readonly url: string
  readonly token: string
  /** The tenant meant when none is named; null: ask the control plane. */
  readonly tenantId: string | null
  /** Where this came from, for people. */
  readonly source: string
}

/** One line that says what to do; printed without a stack. */
export class CliFault extends Error {}

export type Environment = Readonly<Record<string, string | undefined>>

/**
 * In this order: options, `SWITCHYARD_URL` and `SWITCHYARD_TOKEN`, and `.switchyard/local.json` of this folder or one
 * above it, which `npm start` writes. The only reader of the environment in the SDK.
 */
export function readCliSettings(
  options: { url?: string; token?: string },
  environment: Environment = process.env,
  folder = process.cwd(),
): CliSettings {
  const url = options.url ?? environment['SWITCHYARD_URL']
  const token = options.token ?? environment['SWITCHYARD_TOKEN']
  if (url && token)
    return { url: endpointOf(url), token, tenantId: null, source: options.url ? 'options' : 'environment' }
  if (url || token) {
    const missing = url ? 'the token: --token or SWITCHYARD_TOKEN' : 'the address: --url or SWITCHYARD_URL'
    throw new CliFault(`half of what is needed: give ${missing} too`)
  }
  const file = findLocalFile(folder)
  if (file === null)
    throw new CliFault(
      'no control plane is known: set SWITCHYARD_URL and SWITCHYARD_TOKEN, or run npm start in the Switchyard folder first',
    )
  const facts = JSON.parse(readFileSync(file, 'utf8')) as { graphqlUrl: string; adminToken: string; tenantId: string }
  return { url: facts.graphqlUrl, token: facts.adminToken, tenantId: facts.tenantId, source: file }
}

/** `SWITCHYARD_CLASSIFIER_TOKEN`: what a classifier is shown as a bearer that a suite asks; null: nothing. */
export function readClassifierToken(environment: Environment = process.env): string | null {
  return environment['SWITCHYARD_CLASSIFIER_TOKEN'] || null
}

/** People give the address of the control plane; the endpoint is at `/graphql`. */
function endpointOf(text: string): string {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
    throw new CliFault(`the address is ${JSON.stringify(text)}: expected a URL such as https://switchyard.example.com`)
  const url = new URL(text)
  if (url.pathname === '/' || url.pathname === '') url.pathname = '/graphql'
  return url.toString()
}

function findLocalFile(folder: string): string | null {
  for (let here = path.resolve(folder); ; here = path.dirname(here)) {
    const file = path.join(here, '.switchyard', 'local.json')
    if (existsSync(file)) return file
    if (here === path.dirname(here)) return null
  }
}
