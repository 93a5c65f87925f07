import { must } from '../../../proto/std/assert.js'

/** The container that type-graphql is given: each resolver class with the one instance that answers for it. */
export class ResolverInstances {
  readonly #instances: ReadonlyMap<unknown, object>

  constructor(instances: readonly object[]) {
    this.#instances = new Map(instances.map((instance) => [instance.constructor, instance]))
  }

  get<T extends object>(wanted: abstract new (...args: never[]) => T): T {
    return must(this.#instances.get(wanted), `no instance of ${wanted.name}`) as T
  }
}
