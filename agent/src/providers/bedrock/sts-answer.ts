import { awsCredentials, type TemporaryCredentials } from './aws-credentials.js'

/**
 * What STS answers, which is XML. Read strictly, and only as much of XML as STS writes: elements, text, the five entities;
 * anything else (declarations of types, comments, marked sections) is no answer of STS's. Source: AWS's Security Token
 * Service API reference, "AssumeRoleWithWebIdentity" and "Common Errors".
 */
const result = 'AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials'

/** Null when the text holds no credentials. */
export function readStsCredentials(xml: string): TemporaryCredentials | null {
  const leaves = readLeaves(xml)
  if (leaves === null) return null
  const token = leaves.get(`${result}/SessionToken`)
  const keys = awsCredentials(leaves.get(`${result}/AccessKeyId`), leaves.get(`${result}/SecretAccessKey`), token)
  const expiration = leaves.get(`${result}/Expiration`) ?? ''
  const expiresAtMs = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/.test(expiration)
    ? Date.parse(expiration)
    : Number.NaN
  if (keys === null || token === undefined || Number.isNaN(expiresAtMs)) return null
  return Object.freeze({ ...keys, expiresAtMs })
}

/** Null when the text is no error of STS's. */
export function readStsError(xml: string): { readonly code: string; readonly message: string } | null {
  const leaves = readLeaves(xml)
  const code = leaves?.get('ErrorResponse/Error/Code')
  return code === undefined ? null : { code, message: leaves?.get('ErrorResponse/Error/Message') ?? '' }
}

const depthMax = 8
const piece = /<(\/?)([A-Za-z][\w.-]*)((?:\s+[A-Za-z_][\w:.-]*="[^"<&]*")*)\s*(\/?)>|([^<]+)/y

interface Element {
  readonly path: string
  text: string
  hasChildren: boolean
}

/** Texts of the elements without children, by their path; null when it is not well-formed, or one path comes twice. */
function readLeaves(xml: string): ReadonlyMap<string, string> | null {
  const leaves = new Map<string, string>()
  const open: Element[] = []
  const text = xml.trim().replace(/^<\?xml[^<>]*\?>\s*/, '')
  piece.lastIndex = 0
  let rootCount = 0
  while (piece.lastIndex < text.length) {
    const match = piece.exec(text)
    if (match === null) return null
    const [, closing, name = '', attributes, selfClosing, characters] = match
    const top = open.at(-1)
    if (characters !== undefined) {
      const said = decodeEntities(characters)
      if (said === null || top === undefined || (top.hasChildren && said.trim() !== '')) return null
      top.text += said
      continue
    }
    if (closing === '/') {
      if (top === undefined || attributes !== '' || selfClosing !== '' || top.path.split('/').at(-1) !== name)
        return null
      open.pop()
      if (!top.hasChildren && !addLeaf(leaves, top.path, top.text)) return null
      continue
    }
    if (top === undefined) rootCount += 1
    else if (top.text.trim() !== '') return null
    else top.hasChildren = true
    const path = top === undefined ? name : `${top.path}/${name}`
    if (rootCount > 1 || open.length >= depthMax) return null
    if (selfClosing === '') open.push({ path, text: '', hasChildren: false })
    else if (!addLeaf(leaves, path, '')) return null
  }
  return open.length === 0 && rootCount === 1 ? leaves : null
}

function addLeaf(leaves: Map<string, string>, path: string, text: string): boolean {
  if (leaves.has(path)) return false
  leaves.set(path, text.trim())
  return true
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

/** Null where something begins with `&` that is none of them. */
function decodeEntities(text: string): string | null {
  let isKnown = true
  const decoded = text.replace(/&([^;&]{0,8});?/g, (whole, name: string) => {
    const character = whole.endsWith(';') ? entities[name] : undefined
    if (character === undefined) isKnown = false
    return character ?? ''
  })
  return isKnown ? decoded : null
}
