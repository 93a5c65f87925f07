import { isJsonObject, type JsonObject } from '../../conversation/json-object.js'

/**
 * A JSON Schema in the words that Gemini holds an answer to. Any schema may be sent, but what is not documented is passed
 * over, so what can be said in other words is: `const` as an `enum` of one, `allOf` of one as `anyOf` of one, a reference
 * with neighbours (which is refused) as `anyOf` of it beside them, `definitions` as `$defs`. What is left over is told, for
 * whoever was promised that answers fit. Source: Vertex AI's REST reference, `GenerationConfig.responseJsonSchema`;
 * `FunctionDeclaration.parametersJsonSchema` names no other set.
 */
export interface WrittenSchema {
  readonly schema: JsonObject
  /** The first keyword that answers are not held to; null when they are held to all. */
  readonly passedOver: string | null
}

/** Deeper ones are sent as they are: nobody writes them, and every level is a stack frame. */
const depthMax = 64

const passedOver: ReadonlySet<string> = new Set([
  ...['pattern', 'minLength', 'maxLength', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf', 'uniqueItems'],
  ...['contains', 'minContains', 'maxContains', 'minProperties', 'maxProperties', 'patternProperties'],
  ...['propertyNames', 'dependentRequired', 'dependentSchemas', 'dependencies', 'unevaluatedProperties'],
  ...['unevaluatedItems', 'additionalItems', 'allOf', 'not', 'if', 'then', 'else', 'const'],
])
const inMaps: ReadonlySet<string> = new Set(['properties', '$defs'])
const inArrays: ReadonlySet<string> = new Set(['anyOf', 'oneOf', 'prefixItems'])
const inPlaces: ReadonlySet<string> = new Set(['items', 'additionalProperties'])

export function writeSchema(schema: JsonObject): WrittenSchema {
  const writer = new SchemaWriter()
  return { schema: writer.write(schema, 0), passedOver: writer.passedOver }
}

class SchemaWriter {
  passedOver: string | null = null

  write(schema: JsonObject, depth: number): JsonObject {
    if (depth > depthMax) return schema
    // Defined, not assigned: a member may be called `__proto__`.
    const written: Record<string, unknown> = Object.fromEntries(
      Object.entries(schema).map(([given, value]) => {
        const name = nameOf(given, value, schema, depth)
        const member = [name, this.#valueOf(name, value, given, depth)] as const
        if (passedOver.has(name)) this.passedOver ??= name
        return member
      }),
    )
    return refersOnly(written) ? written : withoutNeighbours(written)
  }

  #valueOf(name: string, value: unknown, given: string, depth: number): unknown {
    const inside = (child: unknown) => (isJsonObject(child) ? this.write(child, depth + 1) : child)
    if (name === '$ref' && typeof value === 'string') return value.replace(/^#\/definitions\//, '#/$defs/')
    if (given === 'const' && name === 'enum') return [value]
    if (inMaps.has(name) && isJsonObject(value)) {
      return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, inside(child)]))
    }
    if (inArrays.has(name) && Array.isArray(value)) return value.map(inside)
    return inPlaces.has(name) ? inside(value) : value
  }
}

/** What the member is called in words that count. */
function nameOf(given: string, value: unknown, { anyOf }: JsonObject, depth: number): string {
  if (given === 'definitions' && depth === 0) return '$defs'
  if (given === 'const' && (typeof value === 'string' || typeof value === 'number')) return 'enum'
  if (given === 'allOf' && Array.isArray(value) && value.length === 1 && anyOf === undefined) return 'anyOf'
  return given
}

/** True without a reference, or where beside it is nothing but what begins with a dollar sign. */
function refersOnly(schema: JsonObject): boolean {
  const { $ref, anyOf } = schema
  return $ref === undefined || anyOf !== undefined || Object.keys(schema).every((name) => name.startsWith('$'))
}

function withoutNeighbours({ $ref, ...rest }: Record<string, unknown>): JsonObject {
  return { ...rest, anyOf: [{ $ref }] }
}
