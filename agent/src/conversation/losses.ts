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

/** Losses by name, and how many more there are; none where it is left out. */
export interface LossList extends ReadonlyArray<Loss> {
  readonly unnamed?: number
}

/** Names beyond this many are not kept: a header and an error message are read by people. */
const lossesMax = 32

/**
 * Gathers losses while a request is read or written, each name once. Of more than `lossesMax` only the first that stands in
 * the way is kept, of each weight; the rest is counted (a name that comes again, again), so a body of nothing but unknown
 * members costs no more than reading it.
 */
export class Losses {
  readonly #losses: Loss[] & { unnamed?: number } = []
  readonly #named = new Set<string>()
  readonly #weights = new Set<LossWeight>()

  constructor(already: LossList = []) {
    for (const loss of already) this.#keep(loss, keyOf(loss))
    if (already.unnamed !== undefined) this.#losses.unnamed = already.unnamed
  }

  get all(): LossList {
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
    const key = keyOf(loss)
    if (this.#named.has(key)) return
    // What blocks must not be lost among what does not.
    const isFirstInTheWay = loss.weight !== 'hint' && !this.#weights.has(loss.weight)
    if (this.#losses.length < lossesMax || isFirstInTheWay) this.#keep(loss, key)
    else this.#losses.unnamed = (this.#losses.unnamed ?? 0) + 1
  }

  #keep(loss: Loss, key: string): void {
    this.#losses.push(loss)
    this.#named.add(key)
    this.#weights.add(loss.weight)
  }
}

function keyOf({ weight, field }: Loss): string {
  return `${weight} ${field}`
}
