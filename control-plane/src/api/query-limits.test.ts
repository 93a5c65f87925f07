import { buildSchema, parse, specifiedRules, validate } from 'graphql'
import { describe, expect, test } from 'vitest'
import { limitRules, type QueryLimits, refuseComplexity } from './query-limits.js'

const schema = buildSchema(`
  type Query { node(first: Int): Node  nodes(first: Int! = 20): NodeConnection!  other: Query! }
  type Node { id: ID!  name: String!  children: [Node!]!  node: Node }
  type NodeConnection { edges: [NodeEdge!]!  pageInfo: String }
  type NodeEdge { cursor: String!  node: Node! }
`)
const limits: QueryLimits = { bodyBytesMax: 1, tokensMax: 1, depthMax: 4, aliasesMax: 3, complexityMax: 300 }

function codes(source: string): unknown[] {
  return validate(schema, parse(source), [...specifiedRules, ...limitRules(limits)]).map(
    (error) => error.extensions['code'] ?? 'language',
  )
}

describe('limits of a document', () => {
  test.each<[string, string, unknown[]]>([
    ['as deep as allowed', '{ node { node { node { id } } } }', []],
    ['deeper', '{ node { node { node { node { id } } } } }', ['LIMIT_EXCEEDED']],
    [
      'deeper by inline fragments',
      '{ node { ... on Node { node { ... { node { node { id } } } } } } }',
      ['LIMIT_EXCEEDED'],
    ],
    [
      'deeper by named fragments',
      'query { node { ...A } } fragment A on Node { node { ...B } } fragment B on Node { node { node { id } } }',
      ['LIMIT_EXCEEDED'],
    ],
    [
      'fragments that use each other many times are counted once each',
      `{ node { ${'...A '.repeat(200)} } } fragment A on Node { ${'...B '.repeat(200)} } fragment B on Node { id }`,
      [],
    ],
    [
      'a cycle of fragments is refused by the language, not by looping',
      '{ node { ...A } } fragment A on Node { node { ...A } }',
      ['language'],
    ],
    ['introspection is not counted', '{ __schema { types { fields { type { ofType { ofType { name } } } } } } }', []],
    ['as many renamed fields as allowed', '{ a: node { id } b: node { id } c: node { id } }', []],
    ['more of them', '{ a: node { id } b: node { id } c: node { id } d: node { e: id } }', ['LIMIT_EXCEEDED']],
  ])('%s', (_, source, expected) => {
    expect(codes(source)).toEqual(expected)
  })

  const complexity = (source: string, variables: Record<string, unknown> = {}) =>
    refuseComplexity(schema, parse(source), variables, null, limits.complexityMax)

  test('lists count by their first, also by a variable and by default', () => {
    const list = (first: string) => `query ($n: Int! = 50) { nodes${first} { edges { cursor node { id name } } } }`
    expect(complexity(list('(first: 10)'))).toBeNull()
    expect(complexity(list(''))).toBeNull()
    expect(complexity(list('(first: 100)'))).toMatchObject({ code: 'limit_exceeded', detail: { complexityMax: 300 } })
    expect(complexity(list('(first: $n)'))).toBeNull()
    expect(complexity(list('(first: $n)'), { n: 100 })).toMatchObject({ code: 'limit_exceeded' })
  })

  test('lists without a first count too', () => {
    expect(complexity('{ node { children { children { id } } } }')).toBeNull()
    expect(complexity('{ node { children { children { children { children { id } } } } } }')).not.toBeNull()
  })

  test('variables of the wrong shape are left to the execution, which names them', () => {
    expect(complexity('query ($n: Int!) { nodes(first: $n) { pageInfo } }', { n: 'x' })).toBeNull()
  })
})
