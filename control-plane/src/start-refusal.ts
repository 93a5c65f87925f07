import { RefusalError } from '../../proto/std/refusal.js'
import { WrongWrapKey } from './access/encryption.js'
import { type Settings, settingsTable } from './settings.js'

/**
 * What keeps the control plane from starting and is the operator's to mend, in one sentence that says how: a port that is
 * taken, a file that is not there, a database that does not answer, another wrap key. Null: a fault of ours, which wants
 * its stack.
 */
export function describeStartRefusal(fault: unknown, settings: Settings): string | null {
  if (fault instanceof RefusalError || fault instanceof WrongWrapKey) return fault.message
  if (!(fault instanceof Error)) return null
  return describeDoor(fault, settings) ?? describeCertificate(fault, settings)
}

const doors = [
  ['httpHost', 'httpPort'],
  ['metricsHost', 'metricsPort'],
  ['grpcHost', 'fleetPort'],
  ['grpcHost', 'enrolPort'],
] as const

function describeDoor(fault: Error, settings: Settings): string | null {
  // gRPC wraps what the socket said, so codes are read from the words.
  const words = `${fault.message} ${fault.cause instanceof Error ? fault.cause.message : ''}`
  const code = /\b(?:EADDRINUSE|EACCES|EADDRNOTAVAIL|ENOTFOUND)\b/.exec(words)?.[0]
  if (code === 'EADDRINUSE' || code === 'EACCES') {
    const taken = doors.filter(([, port]) => settings[port] !== 0 && words.includes(`:${settings[port]}`))
    const variables = taken.map(([, port]) => settingsTable[port].variable).join(' or ')
    const [first] = taken
    if (first === undefined) return null
    const reason = code === 'EACCES' ? 'may not be opened by this account' : 'is taken: end what listens there, or'
    return `port ${settings[first[1]]} ${reason}${code === 'EACCES' ? ':' : ''} set ${variables} to another`
  }
  if (code === undefined) return null
  const host = doors.map(([name]) => name).find((name) => words.includes(settings[name]))
  if (host === undefined) return null
  return `${settingsTable[host].variable} is ${JSON.stringify(settings[host])}: this machine has no such address; 0.0.0.0 is all of them`
}

function describeCertificate(fault: Error, settings: Settings): string | null {
  const { code = '', path } = fault as { code?: string; path?: string }
  for (const name of ['tlsCertFile', 'tlsKeyFile'] as const) {
    if (path !== undefined && path === settings[name]) {
      return `${settingsTable[name].variable} is ${JSON.stringify(path)}, which cannot be read (${code})`
    }
  }
  if (settings.tlsCertFile === null || !/^ERR_(?:OSSL|SSL|TLS)/.test(code)) return null
  return `SWITCHYARD_TLS_CERT_FILE and SWITCHYARD_TLS_KEY_FILE are not a PEM certificate and its key (${fault.message})`
}
