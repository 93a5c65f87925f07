import { z } from 'zod'
import { formatUsd, parseUsd } from '../../../proto/std/money.js'
import { shapes } from '../access/check-input.js'

export const capabilities = ['chat', 'embeddings'] as const
export type Capability = (typeof capabilities)[number]

/** What a million tokens cost. Versions are only ever added; the highest is in force, and usage records name theirs. */
export interface ModelPrice {
  readonly version: number
  readonly inputNanoUsdPerMillion: bigint
  readonly cachedInputNanoUsdPerMillion: bigint
  readonly outputNanoUsdPerMillion: bigint
  /** Input written into the vendor's prompt cache; null: it costs as other input does. */
  readonly cacheWriteInputNanoUsdPerMillion: bigint | null
  readonly createdAt: Date
}

/** What people set of a registry entry. */
export interface ModelFields {
  /** Its name in the registry of the tenant. */
  readonly name: string
  /** The name that is sent upstream unless a target says otherwise. */
  readonly upstreamModel: string
  readonly capabilities: readonly Capability[]
  /** 0: not known. */
  readonly contextTokensMax: number
  /** Of one answer; sent where a vendor wants a number and the client gave none. 0: not known. */
  readonly outputTokensMax: number
}

export interface Model extends ModelFields {
  readonly id: string
  readonly tenantId: string
  /** In force; null: requests are recorded without a cost. */
  readonly price: ModelPrice | null
  readonly createdAt: Date
  readonly archivedAt: Date | null
  /** Rises with each change, prices included. */
  readonly rowVersion: number
}

export const modelsPerTenantMax = 5_000
export const pricesPerModelMax = 10_000
/** 10,000 USD per million tokens: dearer than anything sold, and cost × tokens stays far from 2^63. */
const nanoUsdPerMillionMax = 10_000n * 1_000_000_000n

/** A model's name, as registries and providers write them: `gpt-4o-mini`, `meta-llama/Llama-3.1-8B`, `llama3:8b`. */
export const modelName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$/,
    'expected 1 to 128 letters, digits and . _ : / @ + -, the first a letter or digit',
  )

const usdPerMillion = z.string().transform((text, context) => {
  const amount = parseUsd(text)
  if (amount !== null && amount >= 0n && amount <= nanoUsdPerMillionMax) return amount
  context.addIssue({
    code: 'custom',
    message: 'expected dollars as decimal text with at most nine places, from 0 to 10000, for example "0.15"',
  })
  return z.NEVER
})

/** Dollars per million tokens. Cached input, and input that the vendor caches, cost as much as input unless a price is given. */
export const priceInput = z
  .object({
    inputUsdPerMillion: usdPerMillion,
    cachedInputUsdPerMillion: usdPerMillion.nullish(),
    outputUsdPerMillion: usdPerMillion,
    cacheWriteInputUsdPerMillion: usdPerMillion.nullish(),
  })
  .transform((price) => ({
    inputNanoUsdPerMillion: price.inputUsdPerMillion,
    cachedInputNanoUsdPerMillion: price.cachedInputUsdPerMillion ?? price.inputUsdPerMillion,
    outputNanoUsdPerMillion: price.outputUsdPerMillion,
    cacheWriteInputNanoUsdPerMillion: price.cacheWriteInputUsdPerMillion ?? null,
  }))

export type PriceFields = z.output<typeof priceInput>

const capabilityList = z
  .array(z.enum(capabilities, `expected one of ${capabilities.join(', ')}`))
  .min(1, 'expected at least one capability')
  .transform((list) => capabilities.filter((capability) => list.includes(capability)))

const contextTokensMax = shapes.integer(0, 100_000_000)
const outputTokensMax = shapes.integer(0, 100_000_000)

export const createModelInput = z.object({
  tenantId: shapes.id.nullish(),
  name: modelName,
  upstreamModel: modelName.nullish(),
  capabilities: capabilityList,
  contextTokensMax: contextTokensMax.nullish(),
  outputTokensMax: outputTokensMax.nullish(),
  price: priceInput.nullish(),
})

/** Absent or null members stay as they are. */
export const updateModelInput = z.object({
  modelId: shapes.id,
  /** Refused with `conflict` unless the row still has this version. */
  rowVersion: z.number().int().nullish(),
  name: modelName.nullish(),
  upstreamModel: modelName.nullish(),
  capabilities: capabilityList.nullish(),
  contextTokensMax: contextTokensMax.nullish(),
  outputTokensMax: outputTokensMax.nullish(),
})

export const setModelPriceInput = z.object({ modelId: shapes.id, price: priceInput })

/** What the audit trail keeps of it; money as text. */
export function auditModel(model: Model) {
  const { name, upstreamModel, capabilities, contextTokensMax, outputTokensMax, price, archivedAt, rowVersion } = model
  return {
    ...{ name, upstreamModel, capabilities, contextTokensMax, outputTokensMax, rowVersion },
    price: price && {
      version: price.version,
      inputUsdPerMillion: formatUsd(price.inputNanoUsdPerMillion),
      cachedInputUsdPerMillion: formatUsd(price.cachedInputNanoUsdPerMillion),
      outputUsdPerMillion: formatUsd(price.outputNanoUsdPerMillion),
      cacheWriteInputUsdPerMillion:
        price.cacheWriteInputNanoUsdPerMillion === null ? null : formatUsd(price.cacheWriteInputNanoUsdPerMillion),
    },
    archivedAt: archivedAt?.toISOString() ?? null,
  }
}
