import { isPermitted } from '../access/permission.js'
import type { Actor } from '../access/principal.js'
import type { DeliveryReader } from './delivery-reader.js'
import type { EnvironmentDelivery } from './environment-delivery.js'

/** What a tenant may know of the fleet: how far its own environments' intent has come. */
export class DeliveryService {
  readonly #reader: DeliveryReader

  /** For data loaders, by environment id: one per cluster that serves it; null for environments that are not the actor's. */
  readonly byEnvironmentId = Object.freeze({
    load: async (actor: Actor, ids: readonly string[]): Promise<readonly (readonly EnvironmentDelivery[] | null)[]> => {
      const found = await this.#reader.findOfEnvironments(ids)
      return ids.map((id) => {
        const own = found.filter(({ delivery }) => delivery.environmentId === id)
        return own.every(({ tenantId }) => isPermitted(actor, 'environment.read', tenantId))
          ? own.map(({ delivery }) => delivery)
          : null
      })
    },
  })

  constructor(reader: DeliveryReader) {
    this.#reader = reader
  }
}
