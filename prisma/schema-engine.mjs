#!/usr/bin/env node
/**
 * Stands in for Prisma's native schema engine, which is a download that a machine without the way to that host never
 * gets: the same arguments, the same JSON-RPC over stdin and stdout, answered by the WASM build of the same engine (an npm
 * package of the same version) over `@prisma/adapter-pg`. Prisma is pointed here by PRISMA_SCHEMA_ENGINE_BINARY; see
 * `prisma.mjs`. Development only: a running control plane applies migrations by `migrate.ts`.
 *
 * Three faults of adapter-pg 7.10.0 that only migrations meet are put right in `mend` and `Factory`. Keep the Prisma
 * packages pinned together, and run `schema-engine.pg.test.ts` when they move. Plain JavaScript: Prisma starts it as an
 * executable file, before anything is built.
 */
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import readline from 'node:readline'
import { PrismaPg } from '@prisma/adapter-pg'
import { bindMigrationAwareSqlAdapterFactory } from '@prisma/driver-adapter-utils'
import * as engineGlue from '@prisma/schema-engine-wasm/schema_engine_bg'
import pg from 'pg'

const wasmFolder = path.dirname(createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm'))
const catalogCharOid = 18
const textOid = 25
const characterColumnType = 6

function readArguments(argv) {
  const read = { datasource: {}, models: [], command: null, version: false }
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--datasource') read.datasource = JSON.parse(argv[++i])
    else if (argv[i] === '--datamodels') read.models.push(argv[++i])
    else if (argv[i] === '--enabled-preview-features' || argv[i] === '--extension-types') i++
    else if (argv[i] === 'cli') read.command = argv[++i]
    else if (argv[i] === '--version') read.version = true
  }
  return read
}

/**
 * Single fields, never `connectionString`: node-postgres lets the string override `database`, which would aim the shadow
 * database (made, filled and dropped) at the real one.
 */
function connectionOf(url, database) {
  const parsed = new URL(url)
  const ssl = parsed.searchParams.get('sslmode')
  return {
    host: parsed.searchParams.get('host') ?? parsed.hostname,
    port: Number(parsed.port || 5432),
    user: decodeURIComponent(parsed.username),
    password: decodeURIComponent(parsed.password),
    database: database ?? decodeURIComponent(parsed.pathname.slice(1)),
    ...(ssl && ssl !== 'disable' ? { ssl: { rejectUnauthorized: ssl === 'verify-full' } } : {}),
  }
}

const quoted = (name) => `"${name.replaceAll('"', '""')}"`

/** The engine's one-shot commands: can-connect-to-database, create-database, drop-database. */
async function runCommand({ command, datasource }) {
  const database = connectionOf(datasource.url).database
  const refuse = (code, message) => {
    const fields = { is_panic: false, error_code: code, message }
    process.stderr.write(`\n${JSON.stringify({ level: 'ERROR', target: 'schema_engine::logger', fields })}\n`)
    process.exitCode = 1
  }
  const client = new pg.Client(
    connectionOf(datasource.url, command === 'can-connect-to-database' ? undefined : 'postgres'),
  )
  try {
    await client.connect()
    if (command === 'create-database') await client.query(`CREATE DATABASE ${quoted(database)}`)
    if (command === 'drop-database') await client.query(`DROP DATABASE IF EXISTS ${quoted(database)} WITH (FORCE)`)
  } catch (error) {
    if (error.code === '3D000') refuse('P1003', `Database \`${database}\` does not exist`)
    else if (error.code === '42P04') refuse('P1009', `Database \`${database}\` already exists`)
    else if (error.code === '28P01') refuse('P1000', `Authentication failed for database \`${database}\``)
    else refuse('P1001', `Can't reach database server: ${error.message || error.code}`)
  } finally {
    await client.end().catch(() => {})
  }
}

function mend(adapter) {
  const performIO = adapter.performIO.bind(adapter)
  const queryRaw = adapter.queryRaw.bind(adapter)
  let characterColumns = []
  // The catalogs' type "char" is unknown to the adapter, which throws.
  adapter.performIO = async (query) => {
    const result = await performIO(query)
    characterColumns = []
    result.fields?.forEach((field, index) => {
      if (field.dataTypeID !== catalogCharOid) return
      characterColumns.push(index)
      field.dataTypeID = textOid
    })
    return result
  }
  adapter.queryRaw = async (query) => {
    const result = await queryRaw(query)
    for (const index of characterColumns) result.columnTypes[index] = characterColumnType
    return result
  }
  // The adapter splits a script at `;`, which cuts function bodies in two and loses the transaction around the whole.
  adapter.executeScript = async (sql) => {
    try {
      await adapter.client.query(sql)
    } catch (error) {
      adapter.onError(error)
    }
  }
  const startTransaction = adapter.startTransaction?.bind(adapter)
  if (startTransaction) adapter.startTransaction = async (...args) => mend(await startTransaction(...args))
  return adapter
}

class Factory extends PrismaPg {
  constructor(url, database) {
    super(connectionOf(url, database), { schema: new URL(url).searchParams.get('schema') ?? undefined })
    this.url = url
  }

  async connect() {
    return mend(await super.connect())
  }

  async connectToShadowDb() {
    const name = `prisma_migrate_shadow_db_${globalThis.crypto.randomUUID()}`
    const admin = new pg.Client(connectionOf(this.url))
    await admin.connect()
    await admin.query(`CREATE DATABASE ${quoted(name)}`)
    const connection = await new Factory(this.url, name).connect()
    const dispose = connection.dispose.bind(connection)
    connection.dispose = async () => {
      await dispose()
      await admin.query(`DROP DATABASE IF EXISTS ${quoted(name)} WITH (FORCE)`)
      await admin.end()
    }
    return connection
  }
}

/** One request per line, answered in order, until stdin closes. */
async function serve({ datasource, models }) {
  const wasm = fs.readFileSync(path.join(wasmFolder, 'schema_engine_bg.wasm'))
  const { instance } = await WebAssembly.instantiate(wasm, { './schema_engine_bg.js': engineGlue })
  engineGlue.__wbg_set_wasm(instance.exports)
  instance.exports.__wbindgen_start()
  const factory = bindMigrationAwareSqlAdapterFactory(
    new Factory(datasource.url ?? 'postgresql://nobody@localhost:1/none'),
  )
  const datamodels = models.length > 0 ? models.map((file) => [file, fs.readFileSync(file, 'utf8')]) : undefined
  const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
  let engine
  const answer = async (request) => {
    try {
      engine ??= await engineGlue.SchemaEngine.new({ datamodels }, () => {}, factory)
      const method = request.method === 'getDatabaseVersion' ? 'version' : request.method
      const result = await engine[method](request.params ?? undefined)
      if (method === 'diff' && typeof result?.stdout === 'string') {
        send({ id: `print-${request.id}`, method: 'print', params: { content: result.stdout } })
      }
      send({ id: request.id, result: result ?? null })
    } catch (error) {
      const data = {
        is_panic: false,
        message: String(error?.message ?? error),
        error_code: error?.code ?? null,
        meta: error?.meta ?? null,
      }
      send({
        id: request.id,
        error: { code: 4466, message: 'An error happened. Check the data field for details.', data },
      })
    }
  }
  let last = Promise.resolve()
  readline
    .createInterface({ input: process.stdin })
    .on('line', (line) => {
      const request = line.trim() ? JSON.parse(line) : {}
      // Without a method it is the answer to one of our `print` requests.
      if (request.method) last = last.then(() => answer(request))
    })
    .on('close', () => last.finally(() => process.exit(0)))
}

const read = readArguments(process.argv.slice(2))
if (read.version) {
  const { version } = JSON.parse(fs.readFileSync(path.join(wasmFolder, 'package.json'), 'utf8'))
  console.log(`schema-engine-wasm ${version}`)
} else if (read.command) {
  await runCommand(read)
} else {
  await serve(read)
}
