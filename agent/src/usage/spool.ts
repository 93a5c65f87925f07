import fs from 'node:fs'
import path from 'node:path'
import { assert } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import { afterTurn } from '../../../proto/std/turn.js'
import { calendarEpoch, takeBootEpoch, writeFileDurably } from './boot-epoch.js'
import { FollowedLane } from './followed-lane.js'
import { frameHeaderBytes } from './frame.js'
import { interruptedRecord } from './interrupted-record.js'
import { recordBytesMax, SpoolLane, type WriteCall, writePlainly } from './lane.js'
import type { LaneBook } from './lane-book.js'
import type { LaneOrder } from './lane-telling.js'
import { type LaneKey, laneName, parseSegmentFileName, type SegmentInfo, type SpoolClass } from './segment.js'
import { SyncGroup } from './sync-group.js'

export interface SpoolOptions {
  /** Everything of the spool is below it, readable by nobody else (records name users). */
  directory: string
  clock: Clock
  log: Log
  /** False: request workers write the lanes, and this spool follows them. Default: this process writes lane 0. */
  ownLanes?: boolean
  /** Disk that usage may take, stored segments kept for re-ingest included. Default 4 GiB. */
  usageBytesMax?: number
  /** Disk that spans may take; beyond it the oldest are dropped and counted. Default 256 MiB. */
  spanBytesMax?: number
  /** Default 32 MiB. */
  segmentBytes?: number
  /** Frames of one turn of the event loop leave in one write; callers wait for `Meter.written`. Default: each at once. */
  gatherWrites?: boolean
  /** How long stored segments are kept for re-ingest after a restore. Default 24 h. */
  retainMs?: number
  /** What a power cut can take (a killed process loses nothing). Default 50 ms. */
  syncIntervalMs?: number
  write?: WriteCall
  onAlarm?: (alarm: SpoolAlarm) => void
}

/**
 * `nearly_full`: hours left at the present rate are in the detail. `full`: new requests are refused. `disk_fault`: the
 * disk refused a write. `lost`: sequences that no segment holds were declared gone. `damaged`: a checksum did not match.
 */
export interface SpoolAlarm {
  readonly code: 'nearly_full' | 'full' | 'disk_fault' | 'lost' | 'damaged'
  readonly detail: Readonly<Record<string, string | number>>
}

export interface SpoolStats {
  readonly bootEpoch: number
  readonly accepting: boolean
  /** Bytes of segments not yet stored whole: what counts against the limit. */
  readonly usageUnstoredBytes: number
  readonly usageDiskBytes: number
  readonly usageBytesMax: number
  readonly spanDiskBytes: number
  readonly spanBytesMax: number
  /** Records written and not known to be stored. */
  readonly usageWaitingCount: number
  readonly spanWaitingCount: number
  readonly openCount: number
  readonly spanDroppedCount: number
  readonly interruptedCount: number
  readonly faultCount: number
  readonly lastSyncUs: number
  /** Until usage is full at the rate of the last minutes; null when it is not growing. */
  readonly hoursLeft: number | null
}

/** Under which name the lanes were reported, and up to where under an earlier one. */
interface SpoolOwner {
  readonly agentId: string | null
  readonly floors: Readonly<Record<string, number>>
}

/** The lanes of one life of a request worker. */
export type FollowedLanes = Readonly<Record<SpoolClass, FollowedLane>>

const upkeepMs = 500
/** Part of the usage budget at which somebody is told. */
const nearlyFullRatio = 0.9
const growthWindowMs = 60_000

/**
 * The agent's memory of what it served, on disk: lanes of append-only segments. It is the truth until Postgres has it.
 * Writing is synchronous and plain (it survives the process); everything else happens in `#upkeep`, twice a second.
 *
 * Lanes are written by this process, or by request workers; then they are followed here (`follow`), and what is left when a
 * worker's process has ended is recovered at once, as a start recovers what a killed agent left.
 */
export class Spool implements Service {
  readonly name = 'usage-spool'
  readonly directory: string
  readonly usageBytesMax: number
  readonly spanBytesMax: number
  #accepting = false
  /** By class: this life's lane. Set by `run`. */
  #usage: SpoolLane | null = null
  #spans: SpoolLane | null = null
  readonly #options: SpoolOptions
  readonly #segmentBytes: number
  readonly #retainMs: number
  readonly #clock: Clock
  readonly #log: Log
  readonly #sync: SyncGroup
  readonly #scratch = Buffer.allocUnsafeSlow(recordBytesMax + frameHeaderBytes)
  readonly #lanes = new Map<string, LaneBook>()
  /** Those that are being written. */
  readonly #live = new Set<LaneBook>()
  /** Names of lanes that were begun in this life. */
  readonly #begun = new Set<string>()
  #bootEpoch = 0
  #owner: SpoolOwner = { agentId: null, floors: {} }
  #diskBytes: Record<SpoolClass, number> = { usage: 0, spans: 0 }
  #usageUnstoredBytes = 0
  #spanDroppedCount = 0
  #interruptedCount = 0
  #faultCount = 0
  #waiter: (() => void) | null = null
  #lanesListener = () => {}
  #acceptingListener: (accepting: boolean) => void = () => {}
  #cancelUpkeep: (() => void) | null = null
  #watermarksChanged = false
  #alarmed = new Set<SpoolAlarm['code']>()
  #growth = { atUs: 0, bytes: 0, bytesPerHour: 0 }
  #running = false

  constructor(options: SpoolOptions) {
    this.#options = options
    this.directory = options.directory
    this.#clock = options.clock
    this.#log = options.log.child({ service: this.name })
    this.usageBytesMax = options.usageBytesMax ?? 4 * 2 ** 30
    this.spanBytesMax = options.spanBytesMax ?? 256 * 2 ** 20
    this.#segmentBytes = options.segmentBytes ?? 32 * 2 ** 20
    this.#retainMs = options.retainMs ?? 24 * 3_600_000
    assert(this.#segmentBytes >= 4096, 'spool: a segment is at least a page')
    assert(this.usageBytesMax >= 4 * this.#segmentBytes, 'spool: the usage budget is at least four segments')
    assert(this.spanBytesMax >= 2 * this.#segmentBytes, 'spool: the span budget is at least two segments')
    this.#sync = new SyncGroup({
      clock: options.clock,
      intervalMs: options.syncIntervalMs ?? 50,
      onFault: (fault) => this.#onFault(fault),
    })
  }

  /** The newest number that this life took. */
  get bootEpoch(): number {
    return this.#bootEpoch
  }

  /** New requests may be served. */
  get accepting(): boolean {
    return this.#accepting
  }

  /** Calls `listener` whenever `accepting` changes. One listener. */
  onAccepting(listener: (accepting: boolean) => void): void {
    this.#acceptingListener = listener
  }

  /** Calls `listener` whenever a lane was begun, ended or moved. One listener. */
  onLanes(listener: () => void): void {
    this.#lanesListener = listener
  }

  /** This life's usage lane, where this process writes it. */
  get usage(): SpoolLane {
    assert(this.#usage, 'spool: runs')
    return this.#usage
  }

  get spans(): SpoolLane {
    assert(this.#spans, 'spool: runs')
    return this.#spans
  }

  /** Every lane that holds a segment or may get one, eldest first, usage before spans. */
  lanes(): readonly LaneBook[] {
    const readable = [...this.#lanes.values()].filter((lane) => lane.readable)
    return readable.sort(
      (a, b) =>
        (a.key.class === 'usage' ? 0 : 1) - (b.key.class === 'usage' ? 0 : 1) ||
        a.key.bootEpoch - b.key.bootEpoch ||
        a.key.lane - b.key.lane,
    )
  }

  lane(key: LaneKey): LaneBook | null {
    return this.#lanes.get(laneName(key)) ?? null
  }

  /** It is being written, under a key that this life took. */
  isLive(lane: LaneBook): boolean {
    return this.#live.has(lane)
  }

  /** Takes a new boot epoch, recovers what a killed life left, opens this life's lanes. Blocks for at most two segments' reading per unfinished lane. */
  async run(): Promise<void> {
    if (this.#running) return
    fs.mkdirSync(this.directory, { recursive: true, mode: 0o700 })
    const files = this.#segmentFiles()
    const seenMax = files.reduce((max, file) => Math.max(max, file.key.bootEpoch), 0)
    this.#bootEpoch = takeBootEpoch(this.directory, seenMax, this.#clock)
    const watermarks = this.#readWatermarks()
    this.#owner = readOwner(path.join(this.directory, 'owner.json'))
    for (const name of new Set(files.map((file) => laneName(file.key)))) {
      this.#recoverLane(
        files.filter((file) => laneName(file.key) === name),
        watermarks,
      )
    }
    if (this.#options.ownLanes ?? true) {
      this.#usage = this.#makeLane({ bootEpoch: this.#bootEpoch, lane: 0, class: 'usage' })
      this.#spans = this.#makeLane({ bootEpoch: this.#bootEpoch, lane: 0, class: 'spans' })
      for (const lane of [this.#usage, this.#spans]) this.#live.add(lane)
    }
    this.#running = true
    this.#growth = { atUs: this.#clock.monotonicUs(), bytes: this.#usageUnstoredBytes, bytesPerHour: 0 }
    this.#judge()
    this.#scheduleUpkeep()
  }

  /** Everything written so far is on the disk when it resolves. */
  async flush(): Promise<void> {
    for (const lane of this.#lanes.values()) lane.flush()
    await this.#sync.flush()
  }

  async drain(): Promise<void> {
    await this.flush()
  }

  /** Ends the lanes; one with a request still open is left for recovery. */
  async stop(): Promise<void> {
    if (!this.#running) return
    this.#running = false
    this.#setAccepting(false)
    this.#cancelUpkeep?.()
    for (const lane of this.#lanes.values()) lane.finish()
    await this.#sync.flush()
    this.#saveWatermarks()
    this.wake()
  }

  stats(): SpoolStats {
    const sum = (of: SpoolClass, value: (lane: LaneBook) => number) => {
      let total = 0
      for (const lane of this.#lanes.values()) if (lane.key.class === of) total += value(lane)
      return total
    }
    return {
      bootEpoch: this.#bootEpoch,
      accepting: this.#accepting,
      usageUnstoredBytes: this.#usageUnstoredBytes,
      usageDiskBytes: this.#diskBytes.usage,
      usageBytesMax: this.usageBytesMax,
      spanDiskBytes: this.#diskBytes.spans,
      spanBytesMax: this.spanBytesMax,
      usageWaitingCount: sum('usage', (lane) => lane.waitingCount),
      spanWaitingCount: sum('spans', (lane) => lane.waitingCount),
      openCount: sum('usage', (lane) => lane.openCount),
      spanDroppedCount: this.#spanDroppedCount,
      interruptedCount: this.#interruptedCount,
      faultCount: this.#faultCount,
      lastSyncUs: this.#sync.lastSyncUs,
      hoursLeft: this.#hoursLeft(),
    }
  }

  // — lanes that a request worker writes —

  /**
   * Two lanes for a request worker that is about to begin: its number, under a boot epoch that it had not before. Blocks for
   * a write of the epoch where the worker begins again. `ask` takes orders to the worker.
   */
  follow(lane: number, ask: (of: SpoolClass, order: LaneOrder) => void): FollowedLanes {
    assert(this.#running, 'spool: runs')
    if (this.#begun.has(laneName({ bootEpoch: this.#bootEpoch, lane, class: 'usage' }))) this.#takeNextEpoch()
    const follow = (of: SpoolClass) => this.#followLane({ bootEpoch: this.#bootEpoch, lane, class: of }, ask)
    const lanes = { usage: follow('usage'), spans: follow('spans') }
    this.#lanesListener()
    return lanes
  }

  /**
   * The process that wrote `lanes` has ended, so that nothing is added to them any more. What it did not seal is recovered:
   * requests that ran become interrupted records. Blocks for at most two segments' reading per lane.
   */
  unfollow(lanes: FollowedLanes): void {
    for (const lane of [lanes.usage, lanes.spans]) {
      if (this.#live.delete(lane)) this.#recoverFollowed(lane)
    }
    this.#recount()
    this.#judge()
    this.#lanesListener()
    this.wake()
  }

  // — for the sender —

  /** Resolves at the next write, or when the spool stops. One waiter. */
  written(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiter = resolve
    })
  }

  /** Wakes whoever waits in `written`. */
  wake(): void {
    const waiter = this.#waiter
    if (!waiter) return
    this.#waiter = null
    waiter()
  }

  /** Postgres has every sequence of `lane` below `nextSequence`. */
  markStored(lane: LaneBook, nextSequence: number): void {
    if (nextSequence === lane.storedNext) return
    lane.markStored(nextSequence, this.#clock.nowMs())
    this.#watermarksChanged = true
    if (lane.key.class === 'usage') this.#recount()
  }

  /** [first, last] is in no segment although nothing holds it back: says so, loudly. */
  declareLost(lane: LaneBook, first: number, last: number): void {
    this.#alarm({ code: 'lost', detail: { lane: laneName(lane.key), first, last } })
    lane.drop(first, last, 'lost_on_disk')
  }

  /**
   * The agent is `agentId` from now on. Under a new name the control plane knows nothing of this spool; what was stored
   * under the old one must not be told again: it is declared so, and the segments kept for re-ingest go.
   */
  adopt(agentId: string): void {
    if (this.#owner.agentId === agentId) return
    const before = this.#owner.agentId
    if (before !== null) {
      this.#log.warn({ before, now: agentId }, 'reporting under another name')
      for (const lane of this.#lanes.values()) {
        lane.floor = Math.max(lane.floor, lane.storedNext)
        for (const segment of [...lane.segments]) if (segment.storedAtMs !== null) lane.remove(segment)
        lane.markStored(0, this.#clock.nowMs())
        if (lane.floor > 0) lane.drop(0, lane.floor - 1, `reported as ${before}`)
      }
    }
    const floors = [...this.#lanes].flatMap(([name, lane]) => (lane.floor > 0 ? [[name, lane.floor] as const] : []))
    this.#owner = { agentId, floors: Object.fromEntries(floors) }
    writeFileDurably(path.join(this.directory, 'owner.json'), JSON.stringify(this.#owner))
    this.#saveWatermarks()
  }

  /** An epoch of this life turns out to be taken: moves its lanes, with all that is in them, to one that cannot be. */
  rekey(bootEpoch: number): void {
    this.#takeNextEpoch(calendarEpoch(this.#clock))
    for (const lane of this.#live) {
      if (lane.key.bootEpoch !== bootEpoch) continue
      this.#lanes.delete(laneName(lane.key))
      lane.rekey(this.#bootEpoch)
      this.#addLane(lane)
    }
  }

  // — inside —

  #takeNextEpoch(atLeast = 0): void {
    this.#bootEpoch = takeBootEpoch(this.directory, Math.max(this.#bootEpoch, atLeast), this.#clock)
  }

  #addLane(lane: LaneBook): void {
    this.#lanes.set(laneName(lane.key), lane)
    this.#begun.add(laneName(lane.key))
  }

  #followLane(key: LaneKey, ask: (of: SpoolClass, order: LaneOrder) => void): FollowedLane {
    const lane = new FollowedLane({
      key,
      directory: this.directory,
      ask: (order) => ask(key.class, order),
      onBytes: (deltaBytes) => this.#onBytes(key.class, deltaBytes),
      onFault: (fault) => this.#onFault(fault),
      onMoved: () => this.#lanesListener(),
    })
    this.#addLane(lane)
    this.#live.add(lane)
    return lane
  }

  /** What lies on the disk says what the ended process wrote; what it told of it is only how far that is. */
  #recoverFollowed(lane: FollowedLane): void {
    const name = laneName(lane.key)
    this.#lanes.delete(name)
    this.#onBytes(lane.key.class, -lane.bytes)
    const files = this.#segmentFiles().filter((file) => laneName(file.key) === name)
    if (files.length === 0) return
    this.#recoverLane(files, { [name]: lane.storedNext }, lane.floor)
  }

  #segmentFiles(): { key: LaneKey; number: number; path: string }[] {
    return fs
      .readdirSync(this.directory)
      .flatMap((name) => {
        const parsed = parseSegmentFileName(name)
        return parsed ? [{ ...parsed, path: path.join(this.directory, name) }] : []
      })
      .sort((a, b) => a.key.bootEpoch - b.key.bootEpoch || a.number - b.number)
  }

  #recoverLane(
    files: readonly { key: LaneKey; number: number; path: string }[],
    watermarks: Readonly<Record<string, number>>,
    floor = 0,
  ): void {
    const key = (files[0] as (typeof files)[number]).key
    const lane = this.#makeLane(key)
    const { damagedBytes } = lane.load(files)
    if (damagedBytes > 0) this.#alarm({ code: 'damaged', detail: { lane: laneName(key), damagedBytes } })
    const { interruptedCount } = lane.recover(interruptedRecord)
    this.#interruptedCount += interruptedCount
    if (interruptedCount > 0) this.#log.warn({ lane: laneName(key), interruptedCount }, 'requests were interrupted')
    lane.floor = Math.max(floor, this.#owner.floors[laneName(key)] ?? 0)
    lane.markStored(watermarks[laneName(key)] ?? 0, this.#clock.nowMs())
    this.#forgetEmpty(lane)
  }

  #makeLane(key: LaneKey): SpoolLane {
    const lane = new SpoolLane({
      key,
      directory: this.directory,
      segmentBytes: this.#segmentBytes,
      sync: this.#sync,
      scratch: this.#scratch,
      write: this.#options.write ?? writePlainly,
      afterTurn: this.#options.gatherWrites === true && key.class === 'usage' ? afterTurn : null,
      onBytes: (deltaBytes) => this.#onBytes(key.class, deltaBytes),
      onFault: (fault) => this.#onFault(fault),
    })
    this.#addLane(lane)
    return lane
  }

  #onBytes(of: SpoolClass, deltaBytes: number): void {
    this.#diskBytes[of] += deltaBytes
    if (deltaBytes < 0) return
    if (of === 'usage') {
      this.#usageUnstoredBytes += deltaBytes
      if (this.#usageUnstoredBytes >= this.#fullBytes) this.#judge()
    }
    this.wake()
  }

  /** A segment is kept free so that requests already running can close. */
  get #fullBytes(): number {
    return this.usageBytesMax - this.#segmentBytes
  }

  #onFault(fault: Error): void {
    this.#faultCount += 1
    this.#setAccepting(false)
    this.#alarm({ code: 'disk_fault', detail: { message: fault.message } })
  }

  /** Decides whether new requests may be served, and tells when that changes or is about to. */
  #judge(): void {
    const full = this.#usageUnstoredBytes >= this.#fullBytes
    const faulted = [...this.#lanes.values()].some((lane) => lane.faulted && lane.key.class === 'usage')
    this.#setAccepting(this.#running && !full && !faulted)
    if (!faulted) this.#alarmed.delete('disk_fault')
    this.#alarmWhile(full, { code: 'full', detail: { usageUnstoredBytes: this.#usageUnstoredBytes } })
    const nearly = this.#usageUnstoredBytes >= this.usageBytesMax * nearlyFullRatio
    const detail = { usageUnstoredBytes: this.#usageUnstoredBytes, hoursLeft: this.#hoursLeft() ?? -1 }
    this.#alarmWhile(nearly, { code: 'nearly_full', detail })
  }

  #setAccepting(accepting: boolean): void {
    if (this.#accepting === accepting) return
    this.#accepting = accepting
    this.#acceptingListener(accepting)
  }

  #alarmWhile(holds: boolean, alarm: SpoolAlarm): void {
    if (holds) this.#alarm(alarm)
    else this.#alarmed.delete(alarm.code)
  }

  /** Once per episode; losses and damage each time. */
  #alarm(alarm: SpoolAlarm): void {
    if (this.#alarmed.has(alarm.code)) return
    if (alarm.code !== 'lost' && alarm.code !== 'damaged') this.#alarmed.add(alarm.code)
    this.#log.error({ alarm: alarm.code, ...alarm.detail }, alarmSentences[alarm.code])
    this.#options.onAlarm?.(alarm)
  }

  #hoursLeft(): number | null {
    if (this.#growth.bytesPerHour <= 0) return null
    return Math.max(0, this.#fullBytes - this.#usageUnstoredBytes) / this.#growth.bytesPerHour
  }

  #scheduleUpkeep(): void {
    this.#cancelUpkeep = this.#clock.after(upkeepMs, () => {
      if (!this.#running) return
      this.#upkeep()
      this.#scheduleUpkeep()
    })
  }

  #upkeep(): void {
    for (const lane of this.#lanes.values()) if (lane.faulted && lane.retry()) this.wake()
    this.#measureGrowth()
    this.#expire()
    this.#shedSpans()
    this.#shedStored()
    this.#recount()
    this.#judge()
    if (this.#watermarksChanged) this.#saveWatermarks()
  }

  #measureGrowth(): void {
    const nowUs = this.#clock.monotonicUs()
    const elapsedMs = (nowUs - this.#growth.atUs) / 1000
    if (elapsedMs < growthWindowMs) return
    const bytesPerHour = ((this.#usageUnstoredBytes - this.#growth.bytes) * 3_600_000) / elapsedMs
    this.#growth = { atUs: nowUs, bytes: this.#usageUnstoredBytes, bytesPerHour }
  }

  /** Stored segments go after their time; lanes of earlier lives go with their last segment. */
  #expire(): void {
    const beforeMs = this.#clock.nowMs() - this.#retainMs
    for (const lane of [...this.#lanes.values()]) {
      for (const segment of [...lane.segments]) {
        if (segment.complete && segment.storedAtMs !== null && segment.storedAtMs <= beforeMs) lane.remove(segment)
      }
      this.#forgetEmpty(lane)
    }
  }

  #forgetEmpty(lane: LaneBook): void {
    if (this.#live.has(lane) || lane.faulted) return
    for (const segment of [...lane.segments]) {
      if (segment.complete && segment.sequenceMax === -1 && lane.nextSequence === 0) lane.remove(segment)
    }
    if (lane.segments.length === 0) this.#lanes.delete(laneName(lane.key))
  }

  /** Spans over their budget: the eldest go, stored ones silently, others as a declared, counted drop. */
  #shedSpans(): void {
    while (this.#diskBytes.spans > this.spanBytesMax) {
      const eldest = this.#eldest('spans', () => true)
      if (!eldest) {
        for (const lane of this.#live) if (lane.key.class === 'spans') lane.endSegment()
        // A request worker ends its segment later; then there is one to drop.
        if (!this.#eldest('spans', () => true)) return
        continue
      }
      const { lane, segment } = eldest
      const first = Math.max(segment.sequenceMin, lane.storedNext)
      lane.remove(segment)
      if (segment.sequenceMin === -1 || segment.sequenceMax < first) continue
      this.#spanDroppedCount += segment.recordCount
      lane.drop(first, segment.sequenceMax, 'over_budget')
    }
  }

  /** Usage over its disk budget: stored segments kept for re-ingest go before their time. */
  #shedStored(): void {
    while (this.#diskBytes.usage > this.usageBytesMax) {
      const eldest = this.#eldest('usage', (segment) => segment.storedAtMs !== null)
      if (!eldest) return
      eldest.lane.remove(eldest.segment)
    }
  }

  #eldest(of: SpoolClass, suits: (segment: SegmentInfo) => boolean): { lane: LaneBook; segment: SegmentInfo } | null {
    for (const lane of this.lanes()) {
      if (lane.key.class !== of) continue
      const segment = lane.segments.find((candidate) => candidate.complete && suits(candidate))
      if (segment) return { lane, segment }
    }
    return null
  }

  #recount(): void {
    let sum = 0
    for (const lane of this.#lanes.values()) if (lane.key.class === 'usage') sum += lane.unstoredBytes
    this.#usageUnstoredBytes = sum
  }

  get #watermarkFile(): string {
    return path.join(this.directory, 'stored.json')
  }

  /** Only a hint for the time before the control plane answers; a missing or damaged file means 0. */
  #readWatermarks(): Readonly<Record<string, number>> {
    try {
      const value: unknown = JSON.parse(fs.readFileSync(this.#watermarkFile, 'utf8'))
      if (typeof value !== 'object' || value === null) return {}
      return Object.fromEntries(Object.entries(value).filter(([, next]) => Number.isSafeInteger(next) && next >= 0))
    } catch {
      return {}
    }
  }

  #saveWatermarks(): void {
    this.#watermarksChanged = false
    const watermarks = Object.fromEntries([...this.#lanes].map(([name, lane]) => [name, lane.storedNext]))
    try {
      fs.writeFileSync(`${this.#watermarkFile}.tmp`, JSON.stringify(watermarks), { mode: 0o600 })
      fs.renameSync(`${this.#watermarkFile}.tmp`, this.#watermarkFile)
    } catch (fault) {
      this.#log.debug({ fault: (fault as Error).message }, 'watermarks could not be saved; the next hello tells them')
    }
  }
}

const alarmSentences: Readonly<Record<SpoolAlarm['code'], string>> = {
  nearly_full: 'the usage spool is nearly full: is the control plane reachable?',
  full: 'the usage spool is full: new requests are refused with usage_spool_full',
  disk_fault: 'the disk refused a write of the usage spool: new requests are refused until it recovers',
  lost: 'usage records are missing from the spool and were declared lost',
  damaged: 'a segment of the usage spool is damaged; its readable records are kept',
}

/** Missing: nothing was ever reported from here. */
function readOwner(file: string): SpoolOwner {
  if (!fs.existsSync(file)) return { agentId: null, floors: {} }
  const value: Partial<SpoolOwner> = JSON.parse(fs.readFileSync(file, 'utf8'))
  return { agentId: value.agentId ?? null, floors: value.floors ?? {} }
}
