import type { Planted } from './rule.js'

/** One small crime per rule, and per half of a rule that has two. None of these files exists. */
export const planted: readonly Planted[] = [
  {
    rule: 'rooms import only what the table of rooms allows',
    what: 'the agent imports the control plane',
    files: [
      ['agent/src/request/planted.ts', "import { Database } from '../../../control-plane/src/database/database.js'"],
    ],
  },
  {
    rule: 'rooms import only what the table of rooms allows',
    what: 'the control plane imports a type of the agent',
    files: [['control-plane/src/fleet/planted.ts', "import type { Agent } from '../../../agent/src/agent.js'"]],
  },
  {
    rule: 'rooms import only what the table of rooms allows',
    what: 'a standard piece reads files',
    files: [['proto/std/planted.ts', "import fs from 'node:fs'"]],
  },
  {
    rule: 'rooms import only what the table of rooms allows',
    what: 'a decision takes the clock',
    files: [['proto/policy/planted.ts', "export { systemClock } from '../std/clock.js'"]],
  },
  {
    rule: 'rooms import only what the table of rooms allows',
    what: 'a decision hashes',
    files: [['proto/policy/planted.ts', "const { createHash } = await import('node:crypto')"]],
  },
  {
    rule: 'rooms import only what the table of rooms allows',
    what: 'the snapshot room draws on a package that it may not use',
    files: [['proto/snapshot/planted.ts', "import pino from 'pino'"]],
  },
  {
    rule: 'rooms import only what the table of rooms allows',
    what: 'the agent speaks GraphQL',
    files: [['agent/src/config/planted.ts', "import { parse } from 'graphql'"]],
  },
  {
    rule: 'rooms import only what the table of rooms allows',
    what: 'the SDK reaches into the control plane',
    files: [['sdk/planted.ts', "import { graphCodes } from '../control-plane/src/api/error-format.js'"]],
  },
  {
    rule: 'rooms import only what the table of rooms allows',
    what: 'deploy/local imports what it should spawn',
    files: [['deploy/local/planted.ts', "import { Agent } from '../../agent/src/agent.js'"]],
  },
  {
    rule: 'nothing but tests imports tests',
    what: 'the product imports the harness',
    files: [['control-plane/src/usage/planted.ts', "import { freePort } from '../../../test/harness/free-port.js'"]],
  },
  {
    rule: 'the planes never import what starts them',
    what: 'the agent imports the simulator',
    files: [['agent/src/providers/planted.ts', "import { Simulator } from '../../../deploy/local/simulator.js'"]],
  },
  {
    rule: 'prisma and SQL from stores, readers and database/ only',
    what: 'a resolver queries',
    files: [
      ['control-plane/src/routes/planted-resolver.ts', "import { Prisma } from '../database/generated/client.js'"],
    ],
  },
  {
    rule: 'prisma and SQL from stores, readers and database/ only',
    what: 'a service opens a connection',
    files: [['control-plane/src/routes/planted-service.ts', "import pg from 'pg'"]],
  },
  {
    rule: 'resolver → service → store or reader → database',
    what: 'a resolver asks a store',
    files: [['control-plane/src/routes/planted-resolver.ts', "import { RouteStore } from './route-store.js'"]],
  },
  {
    rule: 'resolver → service → store or reader → database',
    what: 'a service knows a GraphQL shape',
    files: [['control-plane/src/routes/planted-service.ts', "import type { RouteGraph } from './route-graph.js'"]],
  },
  {
    rule: 'resolver → service → store or reader → database',
    what: 'a store asks a service',
    files: [['control-plane/src/routes/planted-store.ts', "import { RouteService } from './route-service.js'"]],
  },
  {
    rule: 'a room uses another through its service or reader, never its store',
    what: 'routes use the store of providers',
    files: [
      ['control-plane/src/routes/planted-service.ts', "import { ProviderStore } from '../providers/provider-store.js'"],
    ],
  },
  {
    rule: 'type-graphql only in *-graph, *-resolver and api/',
    what: 'a domain type is decorated',
    files: [['control-plane/src/routes/planted.ts', "import { ObjectType } from 'type-graphql'"]],
  },
  {
    rule: 'bullmq only in jobs/, workers and intake',
    what: 'a service enqueues by itself',
    files: [['control-plane/src/usage/planted-service.ts', "import { Queue } from 'bullmq'"]],
  },
  {
    rule: 'grpc only in fleet/, leases/ and usage intake',
    what: 'a reader answers gRPC',
    files: [['control-plane/src/usage/planted-reader.ts', "import { status } from '@grpc/grpc-js'"]],
  },
  {
    rule: 'agent: server → request → the rest; config and usage never know request, providers and doors meet at conversation',
    what: 'the meter knows a request',
    files: [['agent/src/usage/planted.ts', "import type { Admitted } from '../request/admit.js'"]],
  },
  {
    rule: 'agent: server → request → the rest; config and usage never know request, providers and doors meet at conversation',
    what: 'a provider reads configuration',
    files: [['agent/src/providers/planted.ts', "import { TablesHolder } from '../config/decision-tables.js'"]],
  },
  {
    rule: 'agent: server → request → the rest; config and usage never know request, providers and doors meet at conversation',
    what: 'a request knows the server',
    files: [['agent/src/request/planted.ts', "import { HttpServer } from '../server/http-server.js'"]],
  },
  {
    rule: 'no import cycle, types count',
    what: 'two files that need each other, once for a type only',
    files: [
      ['agent/src/quota/planted-a.ts', "import { b } from './planted-b.js'"],
      ['agent/src/quota/planted-b.ts', "import type { A } from './planted-a.js'"],
    ],
  },
  {
    rule: 'the arrows between rooms of a plane have no cycle',
    what: 'two rooms that need each other through different files',
    files: [
      ['control-plane/src/planted-one/a.ts', "import { d } from '../planted-two/d.js'"],
      ['control-plane/src/planted-one/b.ts', 'export const b = 1'],
      ['control-plane/src/planted-two/c.ts', "import { b } from '../planted-one/b.js'"],
      ['control-plane/src/planted-two/d.ts', 'export const d = 1'],
    ],
  },
  {
    rule: 'no barrel',
    what: 'a file that only re-exports',
    files: [['agent/src/quota/planted.ts', "export { a } from './a.js'\nexport * from './b.js'\n"]],
  },
  {
    rule: 'no barrel',
    what: 'an index',
    files: [['agent/src/quota/index.ts', 'export const everything = 1']],
  },
  {
    rule: 'no file that nobody imports',
    what: 'a file whose only user is its own test',
    files: [
      ['agent/src/quota/planted.ts', 'export const a = 1'],
      ['agent/src/quota/planted.test.ts', "import { a } from './planted.js'"],
    ],
  },
  {
    rule: 'process.env only in settings',
    what: 'a file that looks up a variable',
    files: [['agent/src/request/planted.ts', "const key = process.env['KEY']"]],
  },
  {
    rule: 'process.env only in settings',
    what: 'the same by destructuring',
    files: [['agent/src/request/planted.ts', 'const { env } = process']],
  },
  ...[
    'const now = Date.now()',
    'const now = new Date()',
    'const us = performance.now()',
    'setTimeout(() => {}, 5)',
    'const jitter = Math.random()',
    "import { setTimeout as sleep } from 'node:timers/promises'",
    // In a template, in a comment and in a string it would be no crime; outside of them it is.
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the text of a file
    'const id = `x${crypto.randomUUID()}`',
  ].map((text) => ({
    rule: 'clock, randomness and timers only in proto/std',
    what: text,
    files: [['agent/src/request/planted.ts', text]] as const,
  })),
]
