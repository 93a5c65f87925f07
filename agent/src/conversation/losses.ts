/**
 * What a request says that a target's vendor has no word for. Three weights decide what becomes of it:
 *
 *   content   without it the answer would be to another question (a picture, a tool, a schema): never left out; the target
 *             is passed over, and when no other is left the request is refused with the field's name
 *   setting   it shapes the answer (a seed, a penalty): passed over like content, or left out and named in a header, as the
 *             route says
 *   hint      it changes nothing of the answer (a cache mark, an end user's id): always left out and named in a header
 */
export type LossWeight = 'content' | 'setting' | 'hint'

export interface Loss {
  readonly weight: LossWeight
  /** In the client's own words, for example `messages[3].content[1]`. */
  readonly field: string
  /** Completes "… cannot be sent to this provider: "; null where the field says it all. */
  readonly reason: string | null
}

/** Names beyond this many are not kept: a header and an error message are read by people. */
const lossesMax = 32

/** Gathers losses while a request is read or written. */
export class Losses {
  readonly #losses: Loss[] = []

  constructor(already: readonly Loss[] = []) {
    this.#losses.push(...already)
  }

  get all(): readonly Loss[] {
    return this.#losses
  }

  /** The first that stands in the way; null when everything left out may be. */
  blocking(dropsSettings: boolean): Loss | null {
    return this.#losses.find(({ weight }) => weight === 'content' || (weight === 'setting' && !dropsSettings)) ?? null
  }

  content(field: string, reason: string | null = null): void {
    this.#add({ weight: 'content', field, reason })
  }

  setting(field: string, reason: string | null = null): void {
    this.#add({ weight: 'setting', field, reason })
  }

  hint(field: string, reason: string | null = null): void {
    this.#add({ weight: 'hint', field, reason })
  }

  #add(loss: Loss): void {
    if (this.#losses.some(({ field, weight }) => field === loss.field && weight === loss.weight)) return
    // What blocks must not be lost among what does not.
    if (this.#losses.length < lossesMax || loss.weight !== 'hint') this.#losses.push(loss)
  }
}
