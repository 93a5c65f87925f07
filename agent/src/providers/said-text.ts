/** Above any model's longest answer. */
const lengthMax = 1024 * 1024

/** What a model said while nobody told how many tokens that is; within a bound. */
export class SaidText {
  #texts: string[] = []
  #length = 0

  add(text: string): void {
    if (text === '' || this.#length + text.length > lengthMax) return
    this.#texts.push(text)
    this.#length += text.length
  }

  /** Somebody told. */
  clear(): void {
    if (this.#length === 0) return
    this.#texts = []
    this.#length = 0
  }

  toString(): string {
    return this.#texts.join('')
  }
}
