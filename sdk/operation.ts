/** One GraphQL operation of the SDK with the types of what goes in and comes out. */
export interface Operation<Result, Variables> {
  readonly name: string
  readonly kind: 'query' | 'mutation' | 'subscription'
  readonly text: string
  /** Never there at run time: holds the types. */
  readonly types?: (variables: Variables) => Result
}

export function operation<Result, Variables>(
  name: string,
  kind: Operation<Result, Variables>['kind'],
  text: string,
): Operation<Result, Variables> {
  return Object.freeze({ name, kind, text })
}
