/** What the processes of the agent's bench tell the one that started them. */
export interface ChildReady {
  readonly kind: 'ready'
  readonly url: string
  readonly apiKey?: string
  /** How an agent is to report to this process. */
  readonly reportTls?: ReportTls
}

/** PEM texts. */
export interface ReportTls {
  readonly ca: string
  readonly key: string
  readonly cert: string
}

export interface ChildUsage {
  readonly kind: 'usage'
  /** User and system time of the whole process, every thread of it. */
  readonly cpuUs: number
  readonly rssBytes: number
  /** Whatever else the process wants shown. */
  readonly facts: Readonly<Record<string, number | string>>
}

/** Says that the process is ready and answers `usage` until its parent leaves. */
export function serveChild(
  ready: Omit<ChildReady, 'kind'>,
  facts: () => Readonly<Record<string, number | string>> = () => ({}),
): void {
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    const usage: ChildUsage = {
      kind: 'usage',
      cpuUs: user + system,
      rssBytes: process.memoryUsage.rss(),
      facts: facts(),
    }
    process.send?.(usage)
  })
  process.on('disconnect', () => process.exit(0))
  process.send?.({ kind: 'ready', ...ready })
}
