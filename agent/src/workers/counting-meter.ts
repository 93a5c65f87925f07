import type { Span } from '../../../proto/gen/switchyard/v1/Span.js'
import type { UsageRecord } from '../../../proto/gen/switchyard/v1/UsageRecord.js'
import type { UsageMeter } from '../request/ports.js'
import type { KeyUses } from './key-uses.js'

interface Counted {
  readonly open: unknown
  readonly end: () => void
}

/** A meter that also counts what each key has running and took, for the other workers to know. */
export class CountingMeter implements UsageMeter {
  readonly #meter: UsageMeter
  readonly #uses: KeyUses

  constructor(meter: UsageMeter, uses: KeyUses) {
    this.#meter = meter
    this.#uses = uses
  }

  get accepting(): boolean {
    return this.#meter.accepting
  }

  open(facts: UsageRecord): unknown {
    const counted: Counted = { open: this.#meter.open(facts), end: this.#uses.open(facts.apiKeyId ?? '') }
    return counted
  }

  close(open: unknown, record: UsageRecord): void {
    const { open: inner, end } = open as Counted
    end()
    this.#meter.close(inner, record)
  }

  record(record: UsageRecord): void {
    // Refused by a limit of the key: took nothing.
    const code = record.code ?? ''
    if (code !== 'rate_limit_exceeded' && code !== 'concurrency_limit_exceeded') this.#uses.take(record.apiKeyId ?? '')
    this.#meter.record(record)
  }

  span(span: Span): void {
    this.#meter.span(span)
  }

  written(): Promise<void> | null {
    return this.#meter.written()
  }
}
