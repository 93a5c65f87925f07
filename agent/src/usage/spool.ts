import fs from 'node:fs'
import path from 'node:path'
import { assert } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import { afterTurn } from '../../../proto/std/turn.js'
import { calendarEpoch, syncFolder, takeBootEpoch, writeFileDurably } from './boot-epoch.js'
import { type AskedDrop, FollowedLane } from './followed-lane.js'
import { frameHeaderBytes } from './frame.js'
import { interruptedRecord } from './interrupted-record.js'
import { recordBytesMax, SpoolLane, type WriteCall, writePlainly } from './lane.js'
import type { LaneBook } from './lane-book.js'
import { type LaneMove, LaneMoves } from './lane-moves.js'
import type { LaneOrder } from './lane-telling.js'
import {
  type LaneKey,
  laneName,
  parseLaneName,
  parseSegmentFileName,
  type SegmentInfo,
  type SpoolClass,
  segmentFileName,
} from './segment.js'
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
 * `left`: the lane of a request worker that ended could not be recovered; the next start of the agent does it.
 */
export interface SpoolAlarm {
  readonly code: 'nearly_full' | 'full' | 'disk_fault' | 'lost' | 'damaged' | 'left'
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
  readonly #moves: LaneMoves
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
    this.#moves = new LaneMoves(options.directory)
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

  /** A lane of that name holds a segment or may get one, also one that moves. */
  has(name: string): boolean {
    return this.#lanes.has(name)
  }

  /** It is being written, under a key that this life took. */
  isLive(lane: LaneBook): boolean {
    return this.#live.has(lane)
  }

  /** Its key was taken by this life; it may have ended since. */
  hasBegun(lane: LaneBook): boolean {
    return this.#begun.has(laneName(lane.key))
  }

  /** Takes a new boot epoch, recovers what a killed life left, opens this life's lanes. Blocks for at most two segments' reading per unfinished lane. */
  async run(): Promise<void> {
    if (this.#running) return
    fs.mkdirSync(this.directory, { recursive: true, mode: 0o700 })
    for (const move of this.#moves.load()) this.#finishMove(move)
    this.#saveMoves()
    const files = this.#segmentFiles()
    const seenMax = files.reduce((max, file) => Math.max(max, file.key.bootEpoch), 0)
    this.#bootEpoch = takeBootEpoch(this.directory, seenMax, this.#clock)
    const watermarks = this.#readWatermarks()
    this.#owner = readOwner(path.join(this.directory, 'owner.json'))
    for (const [name, key] of new Map(files.map((file) => [laneName(file.key), file.key]))) {
      this.#recoverLane(
        key,
        files.filter((file) => laneName(file.key) === name),
        { watermark: watermarks[name] ?? 0, floor: 0, drops: [] },
      )
    }
    if (this.#options.ownLanes ?? true) {
      this.#usage = this.#makeLane({ bootEpoch: this.#bootEpoch, lane: 0, class: 'usage' })
      this.#spans = this.#makeLane({ bootEpoch: this.#bootEpoch, lane: 0, class: 'spans' })
      for (const lane of [this.#usage, this.#spans]) this.#noteBegun(lane)
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
    const hasHad = (of: SpoolClass) => this.#begun.has(laneName({ bootEpoch: this.#bootEpoch, lane, class: of }))
    if (hasHad('usage') || hasHad('spans')) this.#takeNextEpoch()
    const follow = (of: SpoolClass) => this.#followLane({ bootEpoch: this.#bootEpoch, lane, class: of }, ask)
    const lanes = { usage: follow('usage'), spans: follow('spans') }
    this.#lanesListener()
    return lanes
  }

  /**
   * The process that wrote `lanes` has ended, so that nothing is added to them any more. What it did not seal is recovered:
   * requests that ran become interrupted records. Blocks for at most two segments' reading per lane. A lane that the disk does
   * not let be recovered stays as it is for the next start of the agent, which is an alarm.
   */
  unfollow(lanes: FollowedLanes): void {
    for (const lane of [lanes.usage, lanes.spans]) {
      if (this.#live.delete(lane)) this.#leaveFollowed(lane)
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

  /**
   * An epoch of this life turns out to be taken: moves its lanes of which `isUnsent` holds, with all that is in them, to one
   * that cannot be, whether they are written still or not. That they move is on the disk before the first file does.
   */
  rekey(bootEpoch: number, isUnsent: (lane: LaneBook) => boolean = () => true): void {
    const moving = [...this.#lanes.values()].filter(
      (lane) => lane.key.bootEpoch === bootEpoch && this.hasBegun(lane) && isUnsent(lane),
    )
    this.#takeNextEpoch(calendarEpoch(this.#clock))
    this.#moves.begin(
      moving.map(({ key }) => ({ from: laneName(key), to: laneName({ ...key, bootEpoch: this.#bootEpoch }) })),
    )
    for (const lane of moving) {
      this.#lanes.delete(laneName(lane.key))
      try {
        lane.rekey(this.#bootEpoch)
        if (lane.readable) this.#moves.end(laneName(lane.key))
      } catch (fault) {
        // It goes on under its new name; a file that kept the earlier one is known by its path, and renamed at the next start.
        this.#onFault(fault as Error)
      }
      this.#lanes.set(laneName(lane.key), lane)
      this.#begun.add(laneName(lane.key))
    }
    this.#saveMoves()
  }

  // — inside —

  #takeNextEpoch(atLeast = 0): void {
    this.#bootEpoch = takeBootEpoch(this.directory, Math.max(this.#bootEpoch, atLeast), this.#clock)
  }

  /** It is written from now on, under a key of this life. */
  #noteBegun(lane: LaneBook): void {
    this.#begun.add(laneName(lane.key))
    this.#live.add(lane)
  }

  #followLane(key: LaneKey, ask: (of: SpoolClass, order: LaneOrder) => void): FollowedLane {
    const lane: FollowedLane = new FollowedLane({
      key,
      directory: this.directory,
      ask: (order) => ask(key.class, order),
      onBytes: (deltaBytes) => this.#onBytes(key.class, deltaBytes),
      onFault: (fault) => this.#onFault(fault),
      onMoved: () => {
        this.#moves.end(laneName(lane.key))
        this.#saveMoves()
        this.#lanesListener()
      },
    })
    this.#lanes.set(laneName(key), lane)
    this.#noteBegun(lane)
    return lane
  }

  #leaveFollowed(lane: FollowedLane): void {
    const name = laneName(lane.key)
    this.#lanes.delete(name)
    this.#onBytes(lane.key.class, -lane.bytes)
    try {
      this.#recoverFollowed(lane)
    } catch (fault) {
      // A part of a lane is worse than none: what it lacks would be taken for lost.
      const partial = this.#lanes.get(name)
      this.#lanes.delete(name)
      if (partial !== undefined) this.#onBytes(lane.key.class, -partial.bytes)
      this.#alarm({ code: 'left', detail: { lane: name, message: String((fault as Error).message) } })
    }
  }

  /** What lies on the disk says what the ended process wrote; what it told of it is only how far that is. */
  #recoverFollowed(lane: FollowedLane): void {
    const name = laneName(lane.key)
    if (!lane.readable) {
      this.#finishMove({ to: name, from: lane.epochsBefore.map((bootEpoch) => laneName({ ...lane.key, bootEpoch })) })
      this.#moves.end(name)
      this.#saveMoves()
    }
    const files = this.#segmentFiles().filter((file) => laneName(file.key) === name)
    const drops = lane.askedDrops
    if (files.length === 0 && drops.length === 0) return
    this.#recoverLane(lane.key, files, { watermark: lane.storedNext, floor: lane.floor, drops })
  }

  /** Gives files that still have an earlier name of a lane the one that it has now. */
  #finishMove({ from, to }: LaneMove): void {
    const key = parseLaneName(to)
    if (key === null) return
    for (const file of this.#segmentFiles()) {
      if (!from.includes(laneName(file.key))) continue
      fs.renameSync(file.path, path.join(this.directory, segmentFileName(key, file.number)))
    }
    syncFolder(this.directory)
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
    key: LaneKey,
    files: readonly { number: number; path: string }[],
    { watermark, floor, drops }: { watermark: number; floor: number; drops: readonly AskedDrop[] },
  ): void {
    const lane = this.#makeLane(key)
    const { damagedBytes } = lane.load(files)
    if (damagedBytes > 0) this.#alarm({ code: 'damaged', detail: { lane: laneName(key), damagedBytes } })
    const { interruptedCount } = lane.recover(interruptedRecord)
    this.#interruptedCount += interruptedCount
    if (drops.length > 0) {
      // Asked for and perhaps not written before the end; whoever is told one twice knows it once.
      for (const { first, last, reason } of drops) lane.drop(first, last, reason)
      lane.finish()
    }
    if (interruptedCount > 0) this.#log.warn({ lane: laneName(key), interruptedCount }, 'requests were interrupted')
    lane.floor = Math.max(floor, this.#owner.floors[laneName(key)] ?? 0)
    lane.markStored(watermark, this.#clock.nowMs())
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
    this.#lanes.set(laneName(key), lane)
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

  /** Once per episode; what befalls a lane each time. */
  #alarm(alarm: SpoolAlarm): void {
    if (this.#alarmed.has(alarm.code)) return
    if (!ofLanes.has(alarm.code)) this.#alarmed.add(alarm.code)
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

  #saveMoves(): void {
    try {
      this.#moves.save()
    } catch (fault) {
      this.#log.debug(
        { fault: (fault as Error).message },
        'ended moves of lanes could not be forgotten; that harms nobody',
      )
    }
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

const ofLanes: ReadonlySet<SpoolAlarm['code']> = new Set(['lost', 'damaged', 'left'])

const alarmSentences: Readonly<Record<SpoolAlarm['code'], string>> = {
  nearly_full: 'the usage spool is nearly full: is the control plane reachable?',
  full: 'the usage spool is full: new requests are refused with usage_spool_full',
  disk_fault: 'the disk refused a write of the usage spool: new requests are refused until it recovers',
  lost: 'usage records are missing from the spool and were declared lost',
  damaged: 'a segment of the usage spool is damaged; its readable records are kept',
  left: 'what a request worker left behind could not be recovered: it is kept on the disk for the next start of the agent',
}

/** Missing: nothing was ever reported from here. */
function readOwner(file: string): SpoolOwner {
  if (!fs.existsSync(file)) return { agentId: null, floors: {} }
  const value: Partial<SpoolOwner> = JSON.parse(fs.readFileSync(file, 'utf8'))
  return { agentId: value.agentId ?? null, floors: value.floors ?? {} }
}
