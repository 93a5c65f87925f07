import type { Command } from 'commander'
import { type ApiKeyFieldsFragment, everyNode } from '../client.js'
import type { Session } from './session.js'
import { CliFault } from './settings.js'
import { formatTable } from './table.js'

interface KeyFacts {
  readonly id: string
  readonly name: string
  readonly prefix: string
  readonly expiresAt: string | null
  readonly revokedAt: string | null
}

/** `switchyard keys …`: the keys that programs show to the agents. */
export function addKeysCommand(program: Command, open: () => Session): void {
  const keys = program.command('keys').description('API keys of a tenant')

  keys
    .command('list')
    .description('newest first')
    .option('--environment <name>', 'only of this environment')
    .option('--all', 'revoked ones too')
    .action(async (options: { environment?: string; all?: boolean }) => {
      const session = open()
      const tenantId = await session.fetchTenantId()
      const environmentId = options.environment
        ? await session.fetchEnvironmentId(tenantId, options.environment)
        : undefined
      const found: ApiKeyFieldsFragment[] = []
      for await (const key of everyNode(
        async (after) => (await session.client.apiKeys({ tenantId, environmentId, after })).apiKeys,
      ))
        if (options.all || key.revokedAt === null) found.push(key)
      const names = await session.fetchEnvironmentNames(tenantId)
      session.print(found, () =>
        formatTable(
          ['id', 'name', 'prefix', 'environment', 'expires', 'revoked'],
          found.map((key) => [
            ...[key.id, key.name, key.prefix, names.get(key.environmentId) ?? key.environmentId],
            ...[key.expiresAt, key.revokedAt],
          ]),
        ),
      )
    })

  keys
    .command('create')
    .description('a new key; it is shown this once')
    .argument('<name>', 'what it is for')
    .option('--environment <name>', 'default: production, or the only one')
    .option('--team <id>', 'whose costs it makes')
    .option('--route <name...>', 'routes that it may use (default: all)')
    .option('--internal-only', 'may not call external models')
    .option('--may-pin', 'may name its target and do without fallbacks, by header')
    .option('--expires <instant>', 'for example 2026-12-31T00:00:00Z')
    .action(
      async (
        name: string,
        options: {
          environment?: string
          team?: string
          route?: string[]
          internalOnly?: boolean
          mayPin?: boolean
          expires?: string
        },
      ) => {
        const session = open()
        const tenantId = await session.fetchTenantId()
        const environmentId = await session.fetchEnvironmentId(tenantId, options.environment)
        const { createApiKey } = await session.client.createApiKey({
          input: {
            environmentId,
            name,
            teamId: options.team ?? null,
            allowedRoutes: options.route ?? null,
            internalOnly: options.internalOnly ?? null,
            mayPin: options.mayPin ?? null,
            expiresAt: options.expires ?? null,
          },
        })
        session.print(createApiKey, () => madeText(createApiKey.apiKey, createApiKey.secret))
      },
    )

  keys
    .command('revoke')
    .description('ends a key for good')
    .argument('<key>', 'id, prefix or name')
    .option('--abort', 'end its running streams too')
    .action(async (text: string, options: { abort?: boolean }) => {
      const session = open()
      const apiKeyId = await fetchKeyId(session, text)
      const { revokeApiKey } = await session.client.revokeApiKey({ input: { apiKeyId, abort: options.abort ?? false } })
      session.print(revokeApiKey, () => `revoked ${revokeApiKey.apiKey.id} (${revokeApiKey.apiKey.name})\n`)
    })

  keys
    .command('rotate')
    .description('a new key like the old one, which goes on for a while')
    .argument('<key>', 'id, prefix or name')
    .option('--overlap <minutes>', 'how long the old one goes on', '60')
    .action(async (text: string, options: { overlap: string }) => {
      const session = open()
      const overlapMinutes = Number(options.overlap)
      if (!Number.isInteger(overlapMinutes) || overlapMinutes < 0)
        throw new CliFault(`--overlap is ${JSON.stringify(options.overlap)}: expected whole minutes`)
      const apiKeyId = await fetchKeyId(session, text)
      const { rotateApiKey } = await session.client.rotateApiKey({ input: { apiKeyId, overlapMinutes } })
      session.print(
        rotateApiKey,
        () =>
          `${madeText(rotateApiKey.apiKey, rotateApiKey.secret)}the old one (${apiKeyId}) ends ${rotateApiKey.previous?.expiresAt ?? 'now'}\n`,
      )
    })
}

function madeText(key: KeyFacts, secret: string): string {
  return `${secret}\n\nThat is the whole key, shown this once. Its id is ${key.id}${key.expiresAt ? `, it ends ${key.expiresAt}` : ''}.\n`
}

/** The one key that is not revoked and has this id, prefix or name. */
async function fetchKeyId(session: Session, text: string): Promise<string> {
  if (/^key_[0-9a-z]{26}$/.test(text)) return text
  const tenantId = await session.fetchTenantId()
  const found: KeyFacts[] = []
  for await (const key of everyNode(async (after) => (await session.client.apiKeys({ tenantId, after })).apiKeys))
    if (key.revokedAt === null && (key.prefix === text || key.name === text)) found.push(key)
  const [only] = found
  if (found.length === 1 && only) return only.id
  throw new CliFault(
    found.length === 0
      ? `no key ${text}; see switchyard keys list`
      : `${found.length} keys are called ${text}: ${found.map(({ id }) => id).join(', ')}; name the id`,
  )
}
