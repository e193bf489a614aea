import type { SupervisorEvent } from '../../events/events.ts'
import type { Timeline } from '../../observe/timeline.ts'
import type { RequestSnapshot } from '../../request/open-requests.ts'
import type { ModelListing } from '../../service/model-list.ts'
import type { SupervisorSnapshot } from '../../service/snapshot.ts'
import type { TextStyle } from '../../text/styled-text.ts'
import type { InspectionMessage } from '../message.ts'
import {
  emptyHistory,
  findShown,
  type History,
  parseRecording,
  record,
  renew,
  seek,
  seekTime,
  step,
} from './history.ts'
import { applySnapshot, emptyModel, findNamed, forgetHolders, type PageModel } from './model.ts'
import { buildPast } from './past.ts'
import { addLook, collectBursts, emptyPace, type Pace, repeatLook } from './rates.ts'
import { parseRoute, type Route } from './route.ts'
import type * as Sequence from './sequence.ts'
import type { SequenceRow } from './sequence.ts'
import { ask, LockedError, readEvents, readLines, setKey } from './stream.ts'
import type * as Tools from './tool-views.ts'
import type * as Views from './views.ts'

/** A line a server printed, on the clock of the events. */
export interface PrintedLine {
  readonly number: number
  readonly stream: string
  readonly text: string
  /** Parts with a look of their own, in their order. */
  readonly styles?: readonly TextStyle[]
  readonly atMs: number
  /** Absent: its words tell it. */
  readonly level?: 'all' | 'warn' | 'bad'
}

/** The views and, once they are loaded, the tools. */
type Later = typeof Views & Partial<typeof Tools>

export type Connection = 'connecting' | 'open' | 'lost' | 'locked'

/** What concerns no single service; only snapshots tell of it, and a recording holds none. */
export type SupervisorStatus = Omit<SupervisorSnapshot, 'services'>

/** The state of the page. */
export interface AppState {
  readonly connection: Connection
  readonly history: History
  /** The name of the recording that is shown instead of live events. */
  readonly recording: string | null
  readonly isPlaying: boolean
  /** What the address names. */
  readonly route: Route
  /** Key of the service whose page is open, or whose machine is looked at. */
  readonly selected: string | null
  /** Key of the row of a list that the keys are at. */
  readonly row: string | null
  readonly filter: string
  readonly output: readonly PrintedLine[]
  readonly rows: readonly SequenceRow[]
  readonly notice: string | null
  readonly status: SupervisorStatus | null
  /** How fast tokens and requests come, as the last looks tell. */
  readonly pace: Pace
  /** The same for the recording that is shown. */
  readonly recordedPace: Pace
  readonly dialog: 'keys' | 'search' | null
  /** What each model can do, by its id: `completion`, `vision`. Absent: it is not known. */
  readonly abilities: Readonly<Record<string, readonly string[]>>
}

/** Lines that are kept of the selected service. */
const MAX_LINES = 2_000
/** The time that the bar at the bottom spans, in milliseconds. */
export const SPAN_MS = 15 * 60_000
/** The longest pause between two moments of a recording that is played, in milliseconds. */
const MAX_PAUSE_MS = 1_200
const RETRY_MS = [500, 1_000, 2_000, 5_000] as const
/**
 * Time between two snapshots, for what events do not contain, such as memory: at first, and at most. It doubles while
 * nothing changes. After an event the next snapshot comes soon.
 */
const REFRESH_MS = 2_000
const MAX_REFRESH_MS = 16_000
const REFRESH_SOON_MS = 500
/** Time between two looks at the timeline: it is drawn, or only tells what was before the events. */
const LOOK_BACK_MS = { drawn: 5_000, other: 20_000 } as const
/** Nothing reads more: during a flood the events are a sample, and snapshots have the exact numbers. */
const EVENTS = '/api/events?last=4096&requestsPerSecond=10'

/** Messages that the last events until the moment that is shown tell of. */
function listTold(
  { moments, cursor }: History,
  { buildEventRow, MAX_ROWS }: typeof Sequence,
): readonly SequenceRow[] {
  return moments
    .slice(0, cursor === null ? moments.length : cursor + 1)
    .slice(-MAX_ROWS)
    .flatMap(({ event }) => buildEventRow(event) ?? [])
}

/** The page without its rendering: state and actions. */
export function createApp(onChange: () => void) {
  let state: AppState = {
    connection: 'connecting',
    history: emptyHistory,
    recording: null,
    isPlaying: false,
    route: parseRoute(location.hash),
    selected: null,
    row: null,
    filter: '',
    output: [],
    rows: [],
    notice: null,
    status: null,
    pace: emptyPace,
    recordedPace: emptyPace,
    dialog: null,
    abilities: {},
  }
  /** Live events are still recorded while a recording is shown. */
  let live: History = emptyHistory
  let liveRows: readonly SequenceRow[] = []
  let instance: string | null = null
  let lastId: string | null = null
  /**
   * The lead of the events' clock over this page's; `null` until it is known. Independent of the time of day, which
   * may differ on the gateway's host.
   */
  let offsetMs: number | null = null
  /** When the connection was lost, on the clock of the events. */
  let lostAtMs: number | null = null
  /** The number up to which all events were received or skipped. */
  let toldSeq = 0
  let pending: { readonly seq: number; readonly apply: (model: PageModel) => PageModel } | null = null
  /** What the first snapshot told, until the events before it have come: on a slow line those take seconds. */
  let preview: PageModel | null = null
  /** The moment that was asked for before the events had come. */
  let due: ((history: History) => History) | null = null
  let lookedBackMs = Number.NEGATIVE_INFINITY
  let refreshTimer: ReturnType<typeof setTimeout> | undefined
  let refreshAtMs = 0
  let refreshMs = REFRESH_MS
  let playTimer: ReturnType<typeof setTimeout> | undefined
  let noticeTimer: ReturnType<typeof setTimeout> | undefined
  let lineNumber = 0
  let later: Later | undefined
  let messageNumber = 0
  let follow: AbortController | undefined
  let machines: AbortController | undefined
  const names = new Map<string, string>()

  /** Drawn with the next change. */
  const setUnseen = (change: Partial<AppState>) => {
    state = { ...state, ...change }
  }
  const set = (change: Partial<AppState>) => {
    setUnseen(change)
    onChange()
  }
  const nowMs = () => lostAtMs ?? (offsetMs === null ? 0 : performance.now() + offsetMs)
  const setLive = (history: History, isSeen = true) => {
    live = history
    const shown = preview === null ? history : { ...history, latest: preview }
    if (state.recording === null) (isSeen ? set : setUnseen)({ history: shown })
    if ((findNamed(findLatest(), state.route.id)?.key ?? null) !== state.selected) choose()
  }
  const findLatest = () => preview ?? live.latest
  /** Reads the output of what the address names. */
  const choose = () => {
    set({ selected: findNamed(findLatest(), state.route.id)?.key ?? null })
    followOutput()
  }
  const go = (route: Route) => {
    const isOther = route.view !== state.route.view || route.id !== state.route.id
    const isSame = route.view === state.route.view
    set({ route, filter: isSame ? state.filter : '', row: isSame ? state.row : null })
    if (isOther) choose()
    followMachines()
  }
  const notify = (notice: string) => {
    clearTimeout(noticeTimer)
    noticeTimer = setTimeout(() => set({ notice: null }), 6_000)
    set({ notice })
  }

  // What happens: events, and snapshots of what they do not tell.
  const hear = (event: SupervisorEvent) => {
    if (event.type === 'events.missed') return
    reach(event.seq - 1)
    const { moments, past } = live
    if (moments.length === 0 && past !== null && preview !== null && event.seq > 1)
      live = { ...live, latest: buildPast(past, preview, event.atMs) }
    setLive(record(live, event), event.type !== 'machine.event')
    reach(event.seq)
    // It is only a message to a machine: what it changes has an event of its own.
    if (event.type === 'machine.event') return
    if (event.type === 'process.spawned' && event.key === state.selected) followOutput()
    if (refreshMs > REFRESH_MS) set({ pace: repeatLook(state.pace, event.atMs) })
    refreshSoon()
  }
  /** A snapshot that overtook earlier events is applied once they have arrived. */
  const reach = (seq: number) => {
    toldSeq = seq
    if (pending === null || pending.seq > seq) return
    const { apply } = pending
    pending = null
    preview = null
    const renewed = renew(live, apply(live.latest))
    setLive(due === null ? renewed : due(renewed))
    due = null
  }
  const refreshSoon = () => {
    refreshMs = REFRESH_MS
    refreshIn(REFRESH_SOON_MS)
  }
  /** A page that is not seen asks nothing until it is seen again. */
  const refreshIn = (ms: number) => {
    const atMs = performance.now() + ms
    if (document.hidden || (refreshTimer !== undefined && refreshAtMs <= atMs)) return
    clearTimeout(refreshTimer)
    refreshAtMs = atMs
    refreshTimer = setTimeout(() => {
      refreshTimer = undefined
      look()
        .catch(() => {})
        .finally(() => refreshIn(refreshMs))
    }, ms)
  }
  const look = async () => {
    if (state.connection !== 'open') return
    const before = live.latest
    await refresh()
    const { services, requests } = live.latest
    const isQuiet = services === before.services && Object.keys(requests).length === 0
    refreshMs = isQuiet ? Math.min(MAX_REFRESH_MS, refreshMs * 2) : REFRESH_MS
    await lookBack(LOOK_BACK_MS[state.route.view === 'timeline' ? 'drawn' : 'other'])
  }
  const refresh = async () => {
    const askedAtMs = performance.now()
    const [snapshot, { requests }] = (await Promise.all(
      ['/api/services', '/api/requests'].map(async (path) => (await ask(path)).json()),
    )) as [SupervisorSnapshot, { requests: readonly RequestSnapshot[] }]
    if (instance !== null && instance !== snapshot.instance) forget()
    instance = snapshot.instance
    set({ status: snapshot, pace: addLook(state.pace, snapshot, requests) })
    // It was taken about halfway between the question and the answer.
    offsetMs = snapshot.atMs - (askedAtMs + performance.now()) / 2
    const { atMs } = snapshot
    const apply = (model: PageModel) => applySnapshot(model, snapshot, requests, atMs)
    if (snapshot.seq > toldSeq) {
      pending = { seq: snapshot.seq, apply }
      if (live.moments.length > 0 && preview === null) return
      preview = apply(preview ?? emptyModel)
      setLive(live)
    } else if (snapshot.seq === toldSeq) setLive(renew(live, apply(live.latest)))
    else refreshSoon()
  }
  /** Reads what happened before the events that are kept, unless that was read within `maxAgeMs`. */
  const lookBack = async (maxAgeMs: number) => {
    if (performance.now() - lookedBackMs < maxAgeMs) return
    lookedBackMs = performance.now()
    const past = (await (await ask('/api/timeline')).json()) as Timeline
    setLive({ ...live, past })
    learnAbilities().catch(() => {})
  }
  /** Only tags and guesses come from it: the page does without where it fails. */
  const learnAbilities = async () => {
    const { data } = (await (await ask('/v1/models')).json()) as { data: readonly ModelListing[] }
    set({ abilities: Object.fromEntries(data.map(({ id, capabilities = [] }) => [id, capabilities])) })
  }
  /** A new supervisor: all facts about the old one are obsolete. */
  const forget = () => {
    lookedBackMs = Number.NEGATIVE_INFINITY
    lastId = null
    toldSeq = 0
    pending = null
    preview = null
    due = null
    set({ pace: emptyPace })
    setLive(emptyHistory)
  }

  const watchEvents = async (): Promise<void> => {
    setLive(renew(live, forgetHolders(live.latest)))
    // Before the events: it is small, and fills the page at once.
    await refresh()
    lostAtMs = null
    set({ connection: 'open' })
    // The timeline tells the states at the first event that is kept.
    if (lastId === null) await lookBack(0).catch(() => {})
    const resume: Record<string, string> = lastId === null ? {} : { 'last-event-id': lastId }
    const response = await ask(EVENTS, { headers: resume })
    followOutput()
    await readEvents(response, ({ id, data }) => {
      lastId = id ?? lastId
      if (data !== null) return hear(JSON.parse(data))
      reach(Number(id?.split('.')[1]))
      refreshSoon()
    })
  }
  const watchMachines = async (signal: AbortSignal): Promise<void> => {
    const response = await ask('/api/inspect', { signal })
    // The stream begins with all living actors and the last messages.
    names.clear()
    liveRows = []
    if (state.recording === null) set({ rows: [] })
    await readEvents(response, ({ data }) => data !== null && hearMachine(JSON.parse(data)))
  }
  const hearMachine = (message: InspectionMessage) => {
    if (later?.sequence === undefined) return
    const { buildRow, findActorName, MAX_ROWS } = later.sequence
    if (message.type === '@xstate.actor') {
      if (names.size > 5_000) names.clear()
      names.set(message.sessionId, findActorName(message))
      return
    }
    messageNumber += 1
    const row = buildRow(message, names, messageNumber)
    if (row === null) return
    liveRows = [...liveRows, row].slice(-MAX_ROWS)
    if (state.recording === null) set({ rows: liveRows })
  }
  /** Time stands still at the last known moment. */
  const lose = (connection: Connection) => {
    lostAtMs ??= nowMs()
    set({ connection })
  }
  /** Following the machines slows every request, so only their view does it. */
  const followMachines = () => {
    const isWanted = state.route.view === 'machines' && later?.sequence !== undefined
    if (isWanted === (machines !== undefined)) return
    machines?.abort()
    machines = isWanted ? new AbortController() : undefined
    const signal = machines?.signal
    if (signal !== undefined) void keep(() => watchMachines(signal), signal)
  }
  /** Keeps a stream open until it is not wanted: again, later each time, when it ends. */
  const keep = async (watch: () => Promise<void>, unwanted?: AbortSignal): Promise<void> => {
    const isMain = unwanted === undefined
    for (let failures = 0; unwanted?.aborted !== true; ) {
      const begun = performance.now()
      try {
        await watch()
        if (isMain) lose('lost')
      } catch (error) {
        if (isMain) lose(error instanceof LockedError ? 'locked' : 'lost')
      }
      failures = performance.now() - begun > 5_000 ? 0 : failures + 1
      await new Promise((resolve) => {
        setTimeout(resolve, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)])
        if (isMain) wake = resolve
      })
    }
  }
  let wake: (value?: unknown) => void = () => {}

  /** Reads what the selected service prints, from its last lines on. */
  const followOutput = () => {
    follow?.abort()
    if (state.output.length > 0) set({ output: [] })
    if (state.recording !== null || state.selected === null || state.route.view !== 'service') return
    const service = findLatest().services[state.selected]
    if (service === undefined) return
    const leaving = new AbortController()
    follow = leaving
    let heard: PrintedLine[] = []
    const tell = () => {
      const added = heard
      heard = []
      if (!leaving.signal.aborted) set({ output: [...state.output, ...added].slice(-MAX_LINES) })
    }
    const read = async () => {
      const response = await ask(`/api/logs/${encodeURIComponent(service.name)}?follow=1`, {
        signal: leaving.signal,
      })
      const clockMs = Number(response.headers.get('x-leasehold-clock-ms'))
      const shiftMs = nowMs() - clockMs
      await readLines(response, (line) => {
        if (leaving.signal.aborted) return
        const printed = JSON.parse(line)
        lineNumber += 1
        heard.push({ ...printed, number: lineNumber, atMs: printed.atMs + shiftMs })
        // Lines come in bursts: one change of the page for all of them.
        if (heard.length === 1) queueMicrotask(tell)
      })
    }
    read().catch(() => {})
  }

  const act = async (path: string, method: string, done: string, body: object = {}) => {
    if (state.recording !== null) return
    try {
      const init = { method, headers: { 'content-type': 'application/json' } }
      await ask(path, method === 'POST' ? { ...init, body: JSON.stringify(body) } : init)
      notify(done)
    } catch (error) {
      notify(
        error instanceof LockedError
          ? 'The gateway wants another key for this.'
          : String((error as Error).message),
      )
    }
  }
  const findName = (key: string) => findShown(state.history, nowMs()).model.services[key]?.name ?? key
  const nameOf = (key: string) => encodeURIComponent(findName(key))

  const stopPlaying = () => {
    clearTimeout(playTimer)
    if (state.isPlaying) set({ isPlaying: false })
  }
  const play = () => {
    const { history } = state
    const at = history.cursor ?? -1
    const [now, next] = [history.moments[at], history.moments[at + 1]]
    if (next === undefined) return stopPlaying()
    const pauseMs = now === undefined ? 0 : Math.min(MAX_PAUSE_MS, next.event.atMs - now.event.atMs)
    playTimer = setTimeout(() => {
      set({ history: seek(state.history, at + 1) })
      play()
    }, pauseMs)
  }

  const readWallMs = (atMs: number): number => {
    const event = state.history.moments.at(-1)?.event
    return event === undefined ? Date.now() - nowMs() + atMs : Date.parse(event.time) - event.atMs + atMs
  }
  /** Goes to another moment of what is shown: `live` has no preview in it. */
  const move = (find: (history: History) => History) => {
    stopPlaying()
    if (state.recording !== null) set({ history: find(state.history) })
    else if (preview !== null) due = find
    else setLive(find(live))
  }
  const holdTime = (atMs: number) => move((history) => seekTime(history, atMs))

  return {
    get state() {
      return state
    },
    /** What is shown, at which time. */
    shown: () => findShown(state.history, nowMs()),
    /** Rows of the sequence up to the moment that is shown. */
    rows: (): readonly SequenceRow[] => {
      const { history, recording, rows } = state
      const sequence = later?.sequence
      if (sequence === undefined) return []
      if (recording !== null) return listTold(history, sequence)
      const untilMs =
        history.cursor === null ? Number.POSITIVE_INFINITY : readWallMs(findShown(history, 0).atMs)
      const followed = rows.filter(({ wallMs }) => wallMs <= untilMs)
      if (followed.length >= sequence.MAX_ROWS) return followed
      // The events tell of the time before the machines were followed.
      const firstMs = rows[0]?.wallMs ?? Number.POSITIVE_INFINITY
      return [...listTold(history, sequence).filter(({ wallMs }) => wallMs < firstMs), ...followed]
    },
    run: () => {
      void keep(watchEvents)
      refreshIn(REFRESH_MS)
      document.addEventListener('visibilitychange', () => refreshIn(0))
    },
    /** What the other scripts contain; `undefined` until the first of them is loaded. */
    get later() {
      return later
    },
    /** The views first: the tools need them. */
    equip: (given: typeof Views | typeof Tools) => {
      later = { ...later, ...given } as Later
      followMachines()
    },
    /** When it is now, on the clock of the events. */
    nowMs,
    /** The time of day of a moment on the clock of the events. */
    wallMs: readWallMs,
    /** From when to when the bar at the bottom goes. */
    span: (): readonly [number, number] => {
      const { moments } = state.history
      if (state.recording === null) return [nowMs() - SPAN_MS, nowMs()]
      const [first, last] = [moments[0]?.event.atMs ?? 0, moments.at(-1)?.event.atMs ?? 0]
      return [first, Math.max(last, first + 1_000)]
    },
    /** The median time until the first byte of the requests that ended in the last five minutes, in milliseconds. */
    firstByteMs: (atMs: number): number | null => {
      const { moments } = state.history
      const times: number[] = []
      for (let index = moments.length - 1; index >= 0 && times.length < 200; index -= 1) {
        const event = moments[index]?.event
        if (event === undefined || event.atMs < atMs - 300_000) break
        if (event.type !== 'request.ended' || event.atMs > atMs || event.outcome !== 'done') continue
        const { waitMs, loadMs, firstByteMs } = event.timings
        times.push(waitMs + loadMs + (firstByteMs ?? 0))
      }
      return times.sort((a, b) => a - b)[times.length >> 1] ?? null
    },
    go,
    choose: (row: string | null) => set({ row }),
    filter: (filter: string) => set({ filter }),
    notify,
    copy: (text: string, what: string) => {
      navigator.clipboard.writeText(text).then(
        () => notify(`${what} is copied.`),
        () => notify('The browser does not let this page copy.'),
      )
    },
    retry: () => wake(),
    start: (key: string) => act(`/api/services/${nameOf(key)}/start`, 'POST', `${findName(key)} is ready.`),
    /** `force`: without waiting for its requests. */
    stop: (key: string, force = false) =>
      act(`/api/services/${nameOf(key)}/stop`, 'POST', `${findName(key)} is stopped.`, { force }),
    stopAll: () => act('/api/stop', 'POST', 'All services are stopped.'),
    cancel: (id: string) =>
      act(`/api/requests/${encodeURIComponent(id)}`, 'DELETE', 'The request is cancelled.'),
    /** Holds the moment, or goes back to what happens. */
    pause: () => {
      if (state.recording !== null) {
        if (state.isPlaying) return stopPlaying()
        const isAtEnd = state.history.cursor === state.history.moments.length - 1
        set({ isPlaying: true, ...(isAtEnd ? { history: seek(state.history, 0) } : {}) })
        return play()
      }
      move((history) => seek(history, history.cursor === null ? history.moments.length - 1 : null))
    },
    step: (by: number) => move((history) => step(history, by, state.recording !== null)),
    /** The oldest moment that is known. */
    seekStart: () => holdTime(Number.NEGATIVE_INFINITY),
    seek: (cursor: number | null) => move((history) => seek(history, cursor)),
    /** Looks at a time; at the end of the span it goes on with what happens. */
    seekTime: (atMs: number) => {
      if (state.recording !== null || atMs < nowMs() - 500) return holdTime(atMs)
      move((history) => seek(history, null))
    },
    /** Looks at a time, however new it is. */
    holdTime,
    /** Reads the timeline where it is older than a picture of it may be. */
    lookBack: () => lookBack(LOOK_BACK_MS.drawn).catch(() => {}),
    /** How fast tokens came, as far as that is known of what is shown. */
    pace: () => (state.recording === null ? state.pace : state.recordedPace),
    open: (name: string, text: string) => {
      const { history, skipped } = parseRecording(text)
      if (history.moments.length === 0) return notify(`${name} holds no events.`)
      follow?.abort()
      clearTimeout(playTimer)
      const recordedPace = { looks: [], bursts: collectBursts(history.moments) }
      set({ recording: name, history, recordedPace, output: [], isPlaying: false })
      if (skipped > 0) notify(`${skipped} lines of ${name} are no events, or too many, and are left out.`)
    },
    close: () => {
      clearTimeout(playTimer)
      set({ recording: null, recordedPace: emptyPace, isPlaying: false, rows: liveRows })
      setLive(seek(live, null))
      choose()
    },
    unlock: (key: string) => {
      setKey(key)
      set({ connection: 'connecting' })
      wake()
    },
    /** The events in memory, as a recording. */
    saved: () =>
      [{ leasehold: 'recording' }, ...state.history.moments.map(({ event }) => event)]
        .map((line) => `${JSON.stringify(line)}\n`)
        .join(''),
    show: (dialog: AppState['dialog']) => set({ dialog }),
  }
}

export type App = ReturnType<typeof createApp>
