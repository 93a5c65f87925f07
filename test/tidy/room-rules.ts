import { eachImport, isTest, type Rule } from './rule.js'
import type { SourceFile } from './source-file.js'

/** Who may import whom among the rooms; what is not named is forbidden. Tests beside the code count as `test`. */
interface RoomLaw {
  readonly room: string
  readonly applies: (path: string) => boolean
  /** Prefixes of files of ours that it may import, besides its own room. */
  readonly files: readonly RegExp[]
  /** Packages and built-ins; null: any that its package.json could name, except those in `never`. */
  readonly packages: readonly RegExp[] | null
  readonly never?: readonly RegExp[]
}

const graphqlOrOrm = [/^graphql/, /^type-graphql$/, /^@apollo\//, /^prisma$/, /^@prisma\//, /^pg$/, /^dataloader$/]
const policyPackages = [/^re2js$/, /^@marcbachmann\/cel-js$/, /^ajv$/, /^gpt-tokenizer$/]

const laws: readonly RoomLaw[] = [
  { room: 'proto/std', applies: within('proto/std/'), files: [], packages: [] },
  {
    room: 'proto/snapshot',
    applies: within('proto/snapshot/'),
    files: [/^proto\/gen\//, /^proto\/std\/(?!clock|ids)/],
    packages: [...policyPackages, /^node:crypto$/],
  },
  {
    room: 'proto/policy',
    applies: within('proto/policy/'),
    files: [/^proto\/gen\//, /^proto\/std\/(?!clock|ids)/],
    packages: policyPackages,
  },
  {
    room: 'proto/gen',
    applies: within('proto/gen/'),
    files: [],
    packages: [/^@grpc\//, /^protobufjs$/],
  },
  { room: 'prisma', applies: within('prisma/'), files: [/^proto\/std\//], packages: null },
  { room: 'agent', applies: within('agent/'), files: [/^proto\//], packages: null, never: graphqlOrOrm },
  {
    room: 'control-plane',
    applies: within('control-plane/'),
    files: [/^proto\//, /^prisma\//],
    packages: null,
  },
  {
    room: 'sdk',
    applies: within('sdk/'),
    files: [/^proto\/(policy|snapshot)\//],
    packages: null,
    never: [/^@prisma\//, /^pg$/, /^@grpc\//],
  },
  { room: 'deploy', applies: within('deploy/'), files: [/^proto\//, /^prisma\//], packages: null },
]

function within(prefix: string): (path: string) => boolean {
  return (path) => path.startsWith(prefix)
}

export const importTable: Rule = {
  name: 'rooms import only what the table of rooms allows',
  check: (files) =>
    eachImport(
      files.filter((file) => !isTest(file.path)),
      (file, { path, packageName }) => {
        const law = laws.find((candidate) => candidate.applies(file.path))
        if (!law) return null
        if (path !== null) {
          const allowed = law.applies(path) || law.files.some((pattern) => pattern.test(path))
          return allowed ? null : `${law.room} may not import this`
        }
        if (packageName === null) return null
        if (law.never?.some((pattern) => pattern.test(packageName))) return `${law.room} never uses this package`
        if (law.packages === null || law.packages.some((pattern) => pattern.test(packageName))) return null
        return `${law.room} may not use this package`
      },
    ),
}

export const testsAreNotImported: Rule = {
  name: 'nothing but tests imports tests',
  check: (files) =>
    eachImport(files, (file, { path }) =>
      path !== null && isTest(path) && !isTest(file.path) ? 'only tests import tests' : null,
    ),
}

export const planesDoNotImportDeploy: Rule = {
  name: 'the planes never import what starts them',
  check: (files) =>
    eachImport(files, (file, { path }) =>
      path?.startsWith('deploy/') && !file.path.startsWith('deploy/') && !isTest(file.path)
        ? 'deploy is imported by nobody'
        : null,
    ),
}

/** The composition roots hold every `new`: they may name everything of their plane. */
const compositionRoot = /^(control-plane|agent)\/src\/(control-plane|agent|main)\.ts$/

export const prismaInStoresOnly: Rule = {
  name: 'prisma and SQL from stores, readers and database/ only',
  check: (files) =>
    eachImport(inControlPlane(files), (file, { path, packageName }) => {
      const reachesPrisma =
        path?.startsWith('prisma/') ||
        path?.startsWith('control-plane/src/database/generated/') ||
        packageName?.startsWith('@prisma/') ||
        packageName === 'pg'
      if (!reachesPrisma || /\/database\//.test(file.path) || /-(store|reader)\.ts$/.test(file.path)) return null
      return 'only stores, readers and database/ reach the record'
    }),
}

export const controlPlaneLayers: Rule = {
  name: 'resolver → service → store or reader → database',
  check: (files) =>
    eachImport(inControlPlane(files), (file, { path }) => {
      if (path === null) return null
      const from = layerOf(file.path)
      const to = layerOf(path)
      if (from === 'resolver' && (to === 'store' || to === 'reader')) return 'a resolver asks a service'
      if (from === 'graph' && (to === 'service' || to === 'store' || to === 'reader'))
        return 'a GraphQL shape knows domain types only'
      if (from === 'service' && (to === 'resolver' || to === 'graph' || isApi(path)))
        return 'a service does not know GraphQL'
      if ((from === 'store' || from === 'reader') && (to === 'resolver' || to === 'graph' || isApi(path)))
        return 'a store does not know GraphQL'
      if ((from === 'store' || from === 'reader') && to === 'service') return 'a store does not know services'
      if (from === 'worker' && (to === 'resolver' || to === 'graph')) return 'a worker does not know GraphQL'
      return null
    }),
}

function layerOf(path: string): string | null {
  return /-(resolver|graph|service|store|reader|worker)\.ts$/.exec(path)?.[1] ?? null
}

function isApi(path: string): boolean {
  return path.startsWith('control-plane/src/api/')
}

export const storesStayInTheirRoom: Rule = {
  name: 'a room uses another through its service or reader, never its store',
  check: (files) =>
    eachImport(inControlPlane(files), (file, { path }) =>
      path !== null &&
      /-store\.ts$/.test(path) &&
      roomOf(path) !== roomOf(file.path) &&
      !compositionRoot.test(file.path)
        ? 'the store of another room'
        : null,
    ),
}

export const graphqlInItsPlaces: Rule = {
  name: 'type-graphql only in *-graph, *-resolver and api/',
  check: (files) =>
    eachImport(inControlPlane(files), (file, { packageName }) =>
      packageName === 'type-graphql' && !/-(graph|resolver)\.ts$/.test(file.path) && !isApi(file.path)
        ? 'GraphQL stays at the front door'
        : null,
    ),
}

export const queuesInTheirPlaces: Rule = {
  name: 'bullmq only in jobs/, workers and intake',
  check: (files) =>
    eachImport(inControlPlane(files), (file, { packageName }) =>
      (packageName === 'bullmq' || packageName === 'ioredis') &&
      !file.path.startsWith('control-plane/src/jobs/') &&
      !/-(worker|intake)\.ts$/.test(file.path)
        ? 'queues stay in jobs, workers and intake'
        : null,
    ),
}

export const grpcInItsPlaces: Rule = {
  name: 'grpc only in fleet/, leases/ and usage intake',
  check: (files) =>
    eachImport(inControlPlane(files), (file, { packageName }) =>
      packageName?.startsWith('@grpc/') &&
      !/^control-plane\/src\/(fleet|leases)\//.test(file.path) &&
      !/^control-plane\/src\/usage\/usage-intake/.test(file.path)
        ? 'gRPC stays at the fleet door'
        : null,
    ),
}

/** What each room of the agent must not know. */
const agentForbids: Readonly<Record<string, readonly string[]>> = {
  request: ['server', 'doors'],
  doors: ['server', 'config'],
  conversation: ['server', 'doors', 'request', 'providers', 'config', 'usage', 'telemetry', 'cache', 'quota'],
  providers: ['server', 'request', 'doors', 'config'],
  replicas: ['server', 'request', 'config'],
  quota: ['server', 'request'],
  cache: ['server', 'request'],
  guardrails: ['server', 'request'],
  usage: ['server', 'request'],
  telemetry: ['server', 'request'],
  config: ['server', 'request'],
}

export const agentArrows: Rule = {
  name: 'agent: server → request → the rest; config and usage never know request, providers and doors meet at conversation',
  check: (files) =>
    eachImport(
      files.filter((file) => file.path.startsWith('agent/src/') && !isTest(file.path)),
      (file, { path }) => {
        const to = path === null ? null : roomOf(path)
        const from = roomOf(file.path)
        if (to === null || from === null || !path?.startsWith('agent/src/')) return null
        return agentForbids[from]?.includes(to) ? `${from} may not know ${to}` : null
      },
    ),
}

function inControlPlane(files: readonly SourceFile[]): readonly SourceFile[] {
  return files.filter((file) => file.path.startsWith('control-plane/src/') && !isTest(file.path))
}

/** `fleet` of `control-plane/src/fleet/x.ts`; null for files in `src` itself. */
export function roomOf(path: string): string | null {
  return /^(?:control-plane|agent)\/src\/([^/]+)\//.exec(path)?.[1] ?? null
}
