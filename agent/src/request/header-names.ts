import type { RouteTable, TargetTable } from '../../../proto/policy/tables.js'

const plainHeader = /^[\x21-\x7e][\x20-\x7e]*$/

/** Names are written by people: whatever is not plain ASCII goes percent-encoded (through bytes: a lone surrogate must not throw). */
function headerText(text: string): string {
  return plainHeader.test(text) ? text : encodeURIComponent(Buffer.from(text).toString())
}

/** `provider/model`, as headers name a target. */
export function targetName(target: TargetTable): string {
  return headerText(`${target.provider.name}/${target.upstreamModel}`)
}

/** Names of routes and targets as response headers show them: made once per table. */
export class HeaderNames {
  readonly #names = new WeakMap<object, string>()

  ofRoute(route: RouteTable): string {
    return this.#names.get(route) ?? this.#keep(route, headerText(route.name))
  }

  ofTarget(target: TargetTable): string {
    return this.#names.get(target) ?? this.#keep(target, targetName(target))
  }

  #keep(table: object, name: string): string {
    this.#names.set(table, name)
    return name
  }
}
