import {
  type ASTVisitor,
  type DocumentNode,
  type FragmentDefinitionNode,
  GraphQLError,
  type GraphQLSchema,
  getOperationAST,
  getVariableValues,
  Kind,
  type SelectionSetNode,
  type ValidationContext,
  type ValidationRule,
} from 'graphql'
import { type ComplexityEstimator, getComplexity } from 'graphql-query-complexity'
import { type Refusal, refuse } from '../../../proto/std/refusal.js'
import { graphCodes } from './error-format.js'

/** What one document may ask for; every bound is a setting. */
export interface QueryLimits {
  /** Bytes of a request body or a WebSocket message. */
  readonly bodyBytesMax: number
  /** Lexical tokens: bounds the work of parsing itself. */
  readonly tokensMax: number
  /** Fields inside fields. */
  readonly depthMax: number
  /** Renamed fields: each one multiplies work that the depth does not show. */
  readonly aliasesMax: number
  /** Fields that may be answered, lists counted by their `first`. */
  readonly complexityMax: number
}

/** Counted once per item of a list whose size no argument says. */
const unsizedListCount = 5

/** The rules that need no variables. Introspection is left out of the depth; graphql-js bounds it by itself. */
export function limitRules(limits: QueryLimits): readonly ValidationRule[] {
  return [
    (context) => ({ Document: (document) => checkDepth(context, document, limits.depthMax) }),
    (context) => aliasRule(context, limits.aliasesMax),
  ]
}

/**
 * Null when the operation with these variables stays within the limit. Call it on a validated document only; variables of
 * the wrong shape pass, because the execution itself will refuse them and say which.
 */
export function refuseComplexity(
  schema: GraphQLSchema,
  query: DocumentNode,
  variables: Readonly<Record<string, unknown>>,
  operationName: string | null | undefined,
  complexityMax: number,
): Refusal | null {
  const definitions = getOperationAST(query, operationName)?.variableDefinitions ?? []
  if (getVariableValues(schema, definitions, variables).errors !== undefined) return null
  const complexity = getComplexity({
    schema,
    query,
    variables,
    ...(operationName ? { operationName } : {}),
    estimators: [estimate],
  })
  if (complexity <= complexityMax) return null
  return refuse(
    'limit_exceeded',
    `this may answer ${complexity} fields, ${complexityMax} are allowed; ask for less at once`,
    {
      detail: { complexity, complexityMax },
    },
  )
}

const estimate: ComplexityEstimator = ({ args, field, childComplexity }) => {
  const first: unknown = args['first']
  if (typeof first === 'number') return 1 + Math.max(1, first) * childComplexity
  // A connection's `edges` was counted by its `first`; other lists of objects are short, but not one.
  const isUnsizedList = field.type.toString().includes('[') && field.name !== 'edges'
  return 1 + (isUnsizedList ? unsizedListCount : 1) * childComplexity
}

function limitError(message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code: graphCodes.limit_exceeded } })
}

function checkDepth(context: ValidationContext, document: DocumentNode, depthMax: number): void {
  const depthOfFragment = new Map<FragmentDefinitionNode, number>()
  const open = new Set<FragmentDefinitionNode>()

  const depthOf = (selections: SelectionSetNode | undefined): number => {
    let depth = 0
    for (const selection of selections?.selections ?? []) {
      if (selection.kind === Kind.FIELD) {
        if (!selection.name.value.startsWith('__')) depth = Math.max(depth, 1 + depthOf(selection.selectionSet))
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        depth = Math.max(depth, depthOf(selection.selectionSet))
      } else {
        depth = Math.max(depth, depthOfSpread(context.getFragment(selection.name.value)))
      }
    }
    return depth
  }
  const depthOfSpread = (fragment: FragmentDefinitionNode | null | undefined): number => {
    // A cycle is another rule's error; it must only not loop here.
    if (!fragment || open.has(fragment)) return 0
    let depth = depthOfFragment.get(fragment)
    if (depth === undefined) {
      open.add(fragment)
      depth = depthOf(fragment.selectionSet)
      open.delete(fragment)
      depthOfFragment.set(fragment, depth)
    }
    return depth
  }

  for (const definition of document.definitions) {
    if (definition.kind !== Kind.OPERATION_DEFINITION) continue
    const depth = depthOf(definition.selectionSet)
    if (depth > depthMax) {
      context.reportError(limitError(`this is ${depth} fields deep, ${depthMax} are allowed; ask for less at once`))
    }
  }
}

function aliasRule(context: ValidationContext, aliasesMax: number): ASTVisitor {
  let count = 0
  return {
    Field: (node) => {
      if (node.alias === undefined) return
      count += 1
      if (count === aliasesMax + 1) {
        context.reportError(limitError(`more than ${aliasesMax} renamed fields; ask for less at once`))
      }
    },
  }
}
