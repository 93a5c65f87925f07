/**
 * A line of text put together where it will be written from. Made as a text it would be thirty pieces joined, flattened,
 * measured and encoded; for a line per request that is most of what the line costs. What does not fit is not written and
 * said so (`overflown`).
 */
export class LineBytes {
  at = 0
  overflown = false
  readonly bytes: Buffer

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  /** `text`, which is printable ASCII. */
  plain(text: string): void {
    const { length } = text
    const { bytes } = this
    let { at } = this
    if (at + length > bytes.length) {
      this.overflown = true
      return
    }
    for (let index = 0; index < length; index++) bytes[at++] = text.charCodeAt(index)
    this.at = at
  }

  /** `text` as a JSON string. */
  json(text: string) {
    const { length } = text
    const { bytes } = this
    let { at } = this
    if (at + length + 2 > bytes.length) {
      this.overflown = true
      return
    }
    bytes[at++] = quote
    for (let index = 0; index < length; index++) {
      const unit = text.charCodeAt(index)
      if (unit < 0x20 || unit > 0x7e || unit === quote || unit === backslash) return this.#escaped(text)
      bytes[at++] = unit
    }
    bytes[at++] = quote
    this.at = at
  }

  /** Digits of a whole number from 0 on; other numbers as JavaScript writes them. */
  number(value: number) {
    if (!(value >= 0 && value <= 0x3fffffff) || value !== (value | 0)) return this.plain(String(value))
    let digits = 1
    for (let rest = value; rest >= 10; rest = (rest / 10) | 0) digits += 1
    if (this.at + digits > this.bytes.length) {
      this.overflown = true
      return
    }
    let rest = value
    for (let at = this.at + digits - 1; at >= this.at; at--) {
      const tens = (rest / 10) | 0
      this.bytes[at] = zero + (rest - tens * 10)
      rest = tens
    }
    this.at += digits
  }

  #escaped(text: string): void {
    const escaped = JSON.stringify(text)
    if (this.at + Buffer.byteLength(escaped) > this.bytes.length) this.overflown = true
    else this.at += this.bytes.write(escaped, this.at)
  }
}

const quote = 0x22
const backslash = 0x5c
const zero = 0x30
