import { z } from 'zod'
import { isRefusal } from '../../../proto/std/refusal.js'
import { parseBaseUrl } from './base-url.js'

export const providerKinds = [
  ...(['openai', 'azure-openai', 'anthropic', 'bedrock', 'vertex'] as const),
  ...(['vllm', 'ollama', 'openai-compatible', 'classifier'] as const),
] as const
export type ProviderKind = (typeof providerKinds)[number]

/** What requests of some kinds need besides an address. Null where the vendor has no such thing. */
export interface VendorFields {
  /** Azure OpenAI: sent with every call; a date with or without `-preview`, or `v1`. */
  readonly apiVersion: string | null
  /** Bedrock: the AWS region that requests are signed for. Vertex: the location in a model's path. Not *our* region. */
  readonly vendorRegion: string | null
  /** Vertex: the Google Cloud project in a model's path. */
  readonly vendorProject: string | null
}

/** Servers that are alike: each request goes to one of them, and agents choose by what each has in its caches and queue. */
export interface ReplicaFields {
  /** As base URLs; empty: the base URL is the one server. */
  readonly replicaUrls: readonly string[]
  /** How often agents read each one's metrics; null: as agents do, once a second where it is worth it. */
  readonly replicaScrapeMs: number | null
}

export const replicasMax = 64
export const replicaScrapeMsMin = 250
export const replicaScrapeMsMax = 60_000

interface Form {
  readonly pattern: RegExp
  readonly expected: string
}

interface KindRule {
  /** Runs outside the tenant's own walls, unless somebody says otherwise. */
  readonly external: boolean
  /** Required of this kind; what is not here is refused. */
  readonly needs: { readonly [Field in keyof VendorFields]?: Form }
  /** Where it lives when nobody says; null: nobody can know. */
  readonly baseUrlOf: (vendorRegion: string) => string | null
  /** An address of this form, for the sentence that asks for one. */
  readonly example: string
  /** May be several servers that are alike. */
  readonly hasReplicas?: boolean
}

const nowhere = () => null
const selfHosted: KindRule = { external: false, needs: {}, baseUrlOf: nowhere, ...beside('http://vllm:8000/v1') }
const rules: Readonly<Record<ProviderKind, KindRule>> = {
  openai: { external: true, needs: {}, ...only('https://api.openai.com/v1') },
  anthropic: { external: true, needs: {}, ...only('https://api.anthropic.com/v1') },
  'azure-openai': {
    external: true,
    needs: {
      apiVersion: {
        pattern: /^(?:v1|\d{4}-\d{2}-\d{2}(?:-preview)?)$/,
        expected: 'expected a date such as 2024-10-21, with or without -preview, or v1',
      },
    },
    baseUrlOf: nowhere,
    example: 'https://NAME.openai.azure.com',
  },
  bedrock: {
    external: true,
    needs: {
      vendorRegion: {
        pattern: /^[a-z]{2,4}(?:-[a-z]{2,16}){1,2}-\d{1,2}$/,
        expected: 'expected an AWS region such as eu-central-1',
      },
    },
    // In its other partitions (China, sovereign, secret) AWS has other domains, one each.
    baseUrlOf: (region) =>
      /^(?:cn|eusc|[a-z]{2}-iso[a-z]?)-/.test(region) ? null : `https://bedrock-runtime.${region}.amazonaws.com`,
    example: 'https://bedrock-runtime.eu-central-1.amazonaws.com',
  },
  vertex: {
    external: true,
    needs: {
      vendorRegion: {
        pattern: /^(?:global|us|eu|[a-z]{2,16}-[a-z]{4,16}\d{1,2})$/,
        expected: 'expected a Google Cloud location such as europe-west4, or global',
      },
      vendorProject: {
        pattern: /^(?:[a-z0-9.-]{1,63}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$/,
        expected: 'expected the id of a Google Cloud project, such as my-project-123',
      },
    },
    baseUrlOf: (location) => {
      if (location === 'global') return 'https://aiplatform.googleapis.com'
      // The multi-regions have domains of another form.
      return location === 'us' || location === 'eu' ? null : `https://${location}-aiplatform.googleapis.com`
    },
    example: 'https://europe-west4-aiplatform.googleapis.com',
  },
  vllm: selfHosted,
  ollama: { ...selfHosted, ...beside('http://ollama:11434/v1') },
  'openai-compatible': { ...selfHosted, ...beside('https://models.example.com/v1') },
  // Serves no model: it measures the prompts of routes that name it.
  classifier: { external: false, needs: {}, baseUrlOf: nowhere, example: 'http://classifier:8080' },
}

function beside(example: string): Pick<KindRule, 'example' | 'hasReplicas'> {
  return { example, hasReplicas: true }
}

function only(baseUrl: string): Pick<KindRule, 'baseUrlOf' | 'example'> {
  return { baseUrlOf: () => baseUrl, example: baseUrl }
}

/** Whether a provider of the kind runs outside the tenant's own walls when nobody says. */
export function isExternalKind(kind: ProviderKind): boolean {
  return rules[kind].external
}

/** Where a provider of the kind lives when nobody says; null: that has to be said. */
export function defaultBaseUrl(kind: ProviderKind, vendorRegion: string | null): string | null {
  return rules[kind].baseUrlOf(vendorRegion ?? '')
}

const given = z.string().nullish()

/** An address and what the kind needs besides: the kind's own default where it has one, each other member checked by kind. */
export const endpointInput = z
  .object({
    kind: z.enum(providerKinds),
    ...{ baseUrl: given, apiVersion: given, vendorRegion: given, vendorProject: given },
    replicaUrls: z.array(z.string()).max(replicasMax, `expected at most ${replicasMax} addresses`).nullish(),
    replicaScrapeMs: z.number().nullish(),
  })
  .transform((input, context): VendorFields & ReplicaFields & { readonly baseUrl: string } => {
    const no = (field: string, message: string, index?: number) => {
      context.addIssue({ code: 'custom', path: index === undefined ? [field] : [field, index], message })
      return z.NEVER
    }
    const { kind } = input
    const rule = rules[kind]
    for (const field of ['apiVersion', 'vendorRegion', 'vendorProject'] as const) {
      const [form, value] = [rule.needs[field], input[field]]
      if (form === undefined) {
        if (value != null) return no(field, `a provider of kind ${kind} has none; leave it out`)
      } else if (value == null) return no(field, `a provider of kind ${kind} needs one: ${form.expected}`)
      else if (!form.pattern.test(value)) return no(field, form.expected)
    }
    const address = input.baseUrl ?? defaultBaseUrl(kind, input.vendorRegion ?? null)
    if (address === null) return no('baseUrl', `a provider of kind ${kind} needs one, such as ${rule.example}`)
    const baseUrl = parseBaseUrl(address)
    if (isRefusal(baseUrl)) return no('baseUrl', baseUrl.message)
    const { apiVersion = null, vendorRegion = null, vendorProject = null, replicaScrapeMs = null } = input
    const replicaUrls: string[] = []
    for (const [index, text] of (input.replicaUrls ?? []).entries()) {
      if (!rule.hasReplicas) return no('replicaUrls', `a provider of kind ${kind} has none; leave them out`)
      const url = parseBaseUrl(text)
      if (isRefusal(url)) return no('replicaUrls', url.message, index)
      if (replicaUrls.includes(url)) return no('replicaUrls', 'given before; expected each server once', index)
      replicaUrls.push(url)
    }
    if (replicaScrapeMs !== null && !rule.hasReplicas) {
      return no('replicaScrapeMs', `of a provider of kind ${kind} agents read nothing; leave it out`)
    }
    return { baseUrl, apiVersion, vendorRegion, vendorProject, replicaUrls, replicaScrapeMs }
  })
