/** A lane of an agent's spool, as the control plane knows it. */
export interface ReportLane {
  readonly agentId: string
  readonly bootEpoch: number
  readonly lane: number
  readonly class: ReportClass
}

export type ReportClass = 'usage' | 'spans'

export interface Range {
  readonly start: number
  /** Exclusive. */
  readonly end: number
}

export function laneKey(lane: ReportLane): string {
  return `${lane.agentId}/${lane.class}/${lane.bootEpoch}/${lane.lane}`
}

/** Runs of consecutive numbers. `sequences` ascending, without repetition. */
export function rangesOf(sequences: readonly number[]): Range[] {
  const ranges: { start: number; end: number }[] = []
  for (const sequence of sequences) {
    const last = ranges.at(-1)
    if (last && last.end === sequence) last.end = sequence + 1
    else ranges.push({ start: sequence, end: sequence + 1 })
  }
  return ranges
}

/** PostgreSQL's text of an int8multirange. */
export function multirangeText(ranges: readonly Range[]): string {
  return `{${ranges.map((range) => `[${range.start},${range.end})`).join(',')}}`
}

/** Ranges of PostgreSQL's canonical text (`{[0,5),[7,9)}`), ascending. */
export function parseMultirange(text: string): Range[] {
  return [...text.matchAll(/\[(\d+),(\d+)\)/g)].map((match) => ({ start: Number(match[1]), end: Number(match[2]) }))
}

/** Whether `value` lies in one of `ranges` (ascending, disjoint). */
export function covers(ranges: readonly Range[], value: number): boolean {
  let low = 0
  let high = ranges.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const range = ranges[middle] as Range
    if (value < range.start) high = middle
    else if (value >= range.end) low = middle + 1
    else return true
  }
  return false
}
