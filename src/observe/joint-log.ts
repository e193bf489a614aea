import { EMPTY, filter, from, map, merge, mergeMap, type Observable } from 'rxjs'
import type { Clock } from '../clock.ts'
import type { SupervisorEvent } from '../events/events.ts'
import type { OutputLine, ServiceOutput } from '../process/output.ts'
import type { OwnLogLine } from './own-log.ts'

/** One line that a server printed, on the clock of the events. */
export interface ServerLine extends OutputLine {
  /** Name of the service. */
  readonly service: string
  /** ISO 8601. */
  readonly time: string
}

/** A line of leasehold's own log, or of a server: only that has a `stream`. */
export type JointLine = OwnLogLine | ServerLine

export interface JointLogOptions {
  /** leasehold's own log. */
  readonly own: {
    lines(): readonly OwnLogLine[]
    readonly lines$: Observable<OwnLogLine>
    /** What the clock of the events says now. */
    readonly nowMs: number
  }
  /** Names of the services. */
  services(): readonly string[]
  /** What the last process of a service printed. */
  output(service: string): ServiceOutput | undefined
  readonly events$: Observable<SupervisorEvent>
  /** The clock of the outputs. */
  readonly clock: Clock
}

/** leasehold's own log and the output of every server, by the time of their lines. */
export function joinLogs({ own, services, output, events$, clock }: JointLogOptions) {
  const shiftMs = own.nowMs - clock.now()
  const wallMs = Date.now() - clock.now()
  const toLine = (service: string, line: OutputLine): ServerLine => ({
    service,
    ...line,
    atMs: line.atMs + shiftMs,
    time: new Date(wallMs + line.atMs).toISOString(),
  })
  const followed = new WeakSet<ServiceOutput>()
  const follow = (service: string): Observable<ServerLine> => {
    const printed = output(service)
    if (printed === undefined || followed.has(printed)) return EMPTY
    followed.add(printed)
    return printed.lines$.pipe(map((line) => toLine(service, line)))
  }
  const spawned$ = events$.pipe(
    filter((event) => event.type === 'process.spawned'),
    map(({ service }) => service),
  )
  return {
    tail: (): readonly JointLine[] =>
      [
        ...own.lines(),
        ...services().flatMap(
          (name) =>
            output(name)
              ?.tail()
              .map((line) => toLine(name, line)) ?? [],
        ),
      ].sort((a, b) => a.atMs - b.atMs),
    lines$: merge<JointLine[]>(own.lines$, merge(from(services()), spawned$).pipe(mergeMap(follow))),
  }
}
