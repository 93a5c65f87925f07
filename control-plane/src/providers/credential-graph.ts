import { Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { DateTime } from '../api/scalars.js'

export const CredentialKindGraph = { SECRET: 'secret', REFERENCE: 'reference' } as const
registerEnumType(CredentialKindGraph, { name: 'CredentialKind' })

@Access('provider.read')
@ObjectType('Credential', { description: 'What is known of the credential in force; never the secret itself.' })
export class CredentialGraph {
  @Field(() => ID)
  id!: string

  @Field(() => Int, { description: 'Rises with each rotation.' })
  version!: number

  @Field(() => CredentialKindGraph)
  kind!: 'secret' | 'reference'

  @Field(() => String, {
    nullable: true,
    description:
      'env:NAME, file:/path or ambient:aws, ambient:azure, ambient:google: what each agent finds itself; null for a secret.',
  })
  reference!: string | null

  @Field(() => DateTime)
  createdAt!: Date
}

@InputType({ description: 'Exactly one of the two.' })
export class CredentialInput {
  @Field(() => String, {
    nullable: true,
    description: `Sealed at rest, sent to agents only, never shown again. A key as a header carries it; for BEDROCK a JSON object
with accessKeyId, secretAccessKey and, if it is temporary, sessionToken; for VERTEX the JSON of a service account's key, as
Google gives it; for AZURE_OPENAI a key, or a JSON object with tenantId, clientId, clientSecret (Entra ID) and, where it is
not the public cloud, authorityHost.`,
  })
  secret?: string | null

  @Field(() => String, {
    nullable: true,
    description: `What each agent finds on its own machine; for platform admins only. env:NAME or file:/path hold what would
be the secret. The identity that the agent's own cloud gives it: ambient:aws (BEDROCK; variables of the environment or a web
identity token), ambient:azure (AZURE_OPENAI; workload or managed identity), ambient:google (VERTEX; the attached service
account).`,
  })
  reference?: string | null
}

@InputType()
export class RotateProviderCredentialInput {
  @Field(() => ID)
  providerId!: string

  @Field(() => CredentialInput)
  credential!: CredentialInput
}
